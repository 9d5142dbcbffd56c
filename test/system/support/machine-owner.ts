/** Starts a machine, prints the pid of its qemu, and waits to be killed:  machine-owner.ts FOLDER */
import { baseImage } from '../../../scripts/machine/base-image.ts';
import { makeMachine } from '../../../scripts/machine/machine.ts';
import { qemuPid } from '../../../scripts/machine/qemu-process.ts';

const folder = process.argv[2] ?? '';
const machine = await makeMachine(folder, { image: await baseImage('trixie', console.error) });
await machine.boot();
console.log(qemuPid(folder));
process.stdin.resume();
