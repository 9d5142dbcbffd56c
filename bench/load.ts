import { spawn } from 'node:child_process';
import { once } from 'node:events';

const writer = `
  const fs = require('node:fs');
  const fd = fs.openSync(process.argv[1], 'w');
  const block = Buffer.alloc(1 << 20, 1);
  for (let at = 0; ; at = (at + block.length) % (256 << 20)) {
    fs.writeSync(fd, block, 0, block.length, at);
    if (process.argv[2] === 'fsync') fs.fsyncSync(fd);
  }`;
const syncer = `for (;;) require('node:child_process').spawnSync('sync')`;

/** Keeps the disk of `folder` busy: two buffered writers, one that waits for each write, a loop of sync. */
export function startLoad(folder: string): { stop(): Promise<void> } {
  const children = [
    ['-e', writer, `${folder}/load-1`],
    ['-e', writer, `${folder}/load-2`],
    ['-e', writer, `${folder}/load-3`, 'fsync'],
    ['-e', syncer],
  ].map((args) =>
    // A bench that is killed takes its load with it.
    spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, ...args], { stdio: 'ignore' }),
  );
  return {
    async stop() {
      await Promise.all(
        children.map(async (child) => {
          const ended = once(child, 'exit');
          child.kill('SIGKILL');
          await ended;
        }),
      );
    },
  };
}
