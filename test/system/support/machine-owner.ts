/** Starts a machine, prints the pid of its qemu, and waits to be killed:  machine-owner.ts FOLDER IMAGE */
import { makeMachine } from '../../../scripts/machine/machine.ts';
import { qemuPid } from '../../../scripts/machine/qemu-process.ts';

const [folder = '', image = ''] = process.argv.slice(2);
const machine = await makeMachine(folder, { image: JSON.parse(image) });
await machine.boot();
console.log(qemuPid(folder));
process.stdin.resume();
