// A daemon's worth of slots in a process of its own, which kills itself at the nth fault point of a swap.
// Arguments: the folder of the private tree, the folder with the images, the number of the point (0: none).
import { writeFileSync } from 'node:fs';
import { startBench, twoPersonas } from './slots.ts';

const [root = '', images = '', number = '0'] = process.argv.slice(2);
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
process.kill(process.pid, 'SIGKILL');
