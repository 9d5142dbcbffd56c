import { closeSync, openSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Call } from '../call.ts';
import { checkTarget } from '../download.ts';
import { say } from '../print/safe.ts';
import { repeat } from '../repeat.ts';

const EVERY_S = 1;
const FILE = 'partitions.csv';
/** What `partitions replay` reads. */
const HEAD =
  'seconds,user_bytes,system_bytes,user_swap_bytes,system_swap_bytes,user_waiting,system_waiting,user_cache_bytes,system_cache_bytes,total_bytes,available_bytes\n';

/** A row of both sides and the machine, without the time; what the kernel does not tell stays empty. Throws when a side is not there. */
function cellsOf({
  sides,
  totalBytes,
  availableBytes,
}: Answer<'partitions.show'>): (number | string)[] {
  const both = (['user', 'system'] as const).map((wanted) => {
    const found = sides.find(({ side }) => side === wanted);
    if (found?.currentBytes !== undefined) return { ...found, bytes: found.currentBytes };
    throw new PersonaError('capability-missing', {
      capability: `a cgroup of the ${wanted} side (${found?.group ?? 'unknown'}) with memory`,
    });
  });
  return [
    ...both.map(({ bytes }) => bytes),
    ...both.map(({ swapBytes }) => swapBytes ?? ''),
    ...both.map(({ waiting }) => waiting?.toFixed(4) ?? ''),
    ...both.map(({ fileBytes, shmemBytes = 0 }) =>
      fileBytes === undefined ? '' : Math.max(0, fileBytes - shmemBytes),
    ),
    totalBytes,
    availableBytes,
  ];
}

/** `personactl partitions record`: a row for each look at the machine. Every row is in the file at once. */
export async function record(call: Call): Promise<undefined> {
  const client = await call.client();
  const seconds = call.number('for');
  const path = call.text('output') ?? FILE;
  await checkTarget(call, path, call.has('force'));
  const first = await client.call('partitions.show', {});
  cellsOf(first); // before there is a file
  const file = openSync(resolve(call.io.cwd(), path), 'w', 0o644);
  let rows = 0;
  let lastMs = 0;
  try {
    writeSync(file, HEAD);
    const time = {
      everyMs: (call.number('every') ?? EVERY_S) * 1000,
      ...(seconds !== undefined && { forMs: seconds * 1000 }),
    };
    await repeat(call.io, time, async () => {
      const answer = await client.call('partitions.show', {});
      if (answer.seenMs <= lastMs) return;
      lastMs = answer.seenMs;
      const at = ((answer.seenMs - first.seenMs) / 1000).toFixed(3);
      writeSync(file, `${[at, ...cellsOf(answer)].join(',')}\n`);
      rows += 1;
    });
  } finally {
    closeSync(file);
  }
  call.out.done({ path, rows }, () => [
    say`${rows} rows in ${path}. \`personactl partitions replay ${path}\` plays them to the policies.`,
  ]);
}
