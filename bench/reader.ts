/**
 * Opens and reads one file in a tight loop until standard input ends.
 * Prints `{"reads": n, "failures": n, "changes": n}`: a change is a content unlike the one before.
 */
import { closeSync, openSync, readSync } from 'node:fs';

const path = process.argv[2]!;
const buffer = Buffer.alloc(64);
let [reads, failures, changes, before] = [0, 0, 0, ''];
let stop = false;
process.stdin.resume().on('end', () => {
  stop = true;
});

function turn(): void {
  for (let i = 0; i < 2000; i++) {
    reads++;
    try {
      const fd = openSync(path, 'r');
      const now = buffer.toString('latin1', 0, readSync(fd, buffer, 0, 64, 0));
      closeSync(fd);
      if (now !== before) changes++;
      before = now;
    } catch {
      failures++;
    }
  }
  if (!stop) setImmediate(turn);
  else console.log(JSON.stringify({ reads, failures, changes }));
}
turn();
