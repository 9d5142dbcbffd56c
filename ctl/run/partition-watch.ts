import type { Call } from '../call.ts';
import { say } from '../print/safe.ts';
import { repeat } from '../repeat.ts';
import { partitionsPage } from './partitions.ts';

const EVERY_S = 2;
/** Cursor home, and everything from there on erased. */
const cleared = '\u001b[H\u001b[J';

/** `personactl partitions watch`: the page of `show` again and again, until Ctrl-C. */
export async function watch(call: Call): Promise<undefined> {
  const client = await call.client();
  const { out, io } = call;
  const everyMs = (call.number('every') ?? EVERY_S) * 1000;
  await repeat(io, { everyMs }, async () => {
    const answer = await client.call('partitions.show', {});
    if (io.out.terminal && !out.json) io.out.write(cleared);
    out.stream(answer, () => [...partitionsPage(answer, call), say``]);
  });
}
