/**
 * Runs in a guest that will lose its power: `furnish`, or `on TAG` for work without end. Says on its output, line by line,
 * what it asks for (`{id, thing}`) and what came of it (`{id, after}`).
 */
import { mkdirSync } from 'node:fs';
import { connect, socketPaths } from '../../../ipc/client.ts';
import type { State } from '../../power-cut/ledger.ts';
import { furnish, workOn } from '../../power-cut/work.ts';

const [, , phase, tag = ''] = process.argv;
const run = '/run/persona';
const folder = '/root/trees';
const tell = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
let last = 0;

mkdirSync(folder, { recursive: true });
const place = {
  daemon: { run, client: () => connect(socketPaths(run)) },
  folder,
  ledger: {
    async ask<T extends State>(thing: string, work: () => Promise<T>): Promise<T> {
      last += 1;
      const id = last;
      tell({ id, thing });
      const after = await work();
      tell({ id, after });
      return after;
    },
  },
};
if (phase === 'furnish') await furnish(place);
else await workOn(place, tag);
process.exit();
