// A daemon's worth of slots in a process of its own, which kills itself at the nth fault point of a swap.
// Arguments: the folder of the private tree, the folder with the images, the number of the point (0: none), and
// `joined` to live on until the next tree was joined ahead.
import { writeFileSync } from 'node:fs';
import { startBench, twoPersonas, untilJoined } from './slots.ts';

const [root = '', images = '', number = '0', until] = process.argv.slice(2);
let armed = false;
let passed = 0;
const bench = await startBench(root, twoPersonas(images), {
  faults: {
    async at(point) {
      if (!armed) return;
      passed += 1;
      console.log(point);
      if (passed === Number(number)) process.kill(process.pid, 'SIGKILL');
    },
  },
});
await bench.create('work');
await bench.swap('work', 'a');
writeFileSync(`${bench.tree('work')}/etc/mine`, 'precious');
armed = true;
await bench.swap('work', 'b');
armed = false;
console.log(`points ${passed}`);
if (until === 'joined') console.log(`joined ${await untilJoined(bench, 'work')}`);
process.kill(process.pid, 'SIGKILL');
