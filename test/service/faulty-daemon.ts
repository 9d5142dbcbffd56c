// The daemon as it is, with a fault that a file asks for: see faulty.ts. It is bundled and started by the unit in place of
// the installed one.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { serve } from '../../daemon/serve.ts';
import { openDriver } from '../../daemon/store/database.ts';
import type { Driver } from '../../daemon/store/store.ts';

const request = '/run/personad-fault';

/** Takes what is asked for, once: the daemon that is started next is healthy. */
function asked(): string {
  if (!existsSync(request)) return '';
  const text = readFileSync(request, 'utf8').trim();
  unlinkSync(request);
  return text;
}

/** Calls that never return, as those on a dead network file system: more than the pool has threads. */
function hangPool(): void {
  const fifo = join(mkdtempSync('/run/personad-hung-'), 'fifo');
  spawnSync('/usr/bin/mkfifo', [fifo]);
  for (let n = 0; n < 20; n++) void open(fifo, 'r');
}

/** A database that does not take `synchronous`, and says so when it is read back. */
async function careless(file: string): Promise<Driver> {
  const driver = await openDriver(file);
  return {
    ...driver,
    exec: (sql) => driver.exec(sql.replace('synchronous = FULL', 'synchronous = NORMAL')),
  };
}

const first = asked();
process.umask(0o077);
process.exitCode = await serve(process.argv.slice(2), process.env, {
  ...(first === 'careless' ? { openDriver: careless } : {}),
  faults: {
    async at() {
      const fault = asked();
      if (fault === 'pool') hangPool();
      // Reaches the event loop: nothing else runs any more.
      if (fault === 'loop') for (;;);
    },
  },
});
