import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { inputOf } from '../inputs.ts';
import { say } from '../print/safe.ts';
import { shortDigest } from '../print/time.ts';

/** `personactl base import` */
export async function importBase(call: Call): Promise<number | undefined> {
  // Before anything is sent.
  const name = call.name('NAME');
  const from = call.text('from');
  const partition = call.number('partition');
  const source = from === undefined ? ({ kind: 'host' } as const) : await inputOf(call, from);
  const params = {
    name,
    source,
    ...(partition !== undefined && { partition }),
  };
  return runChange(call, 'base.import', params, (outcome) => {
    const { base, existed } = outcome.result;
    const how = existed ? 'the same content was there before' : formatSize(base.bytes);
    const title = base.os?.title === undefined ? '' : say`, ${base.os.title}`;
    call.out.done(outcome, () => [
      say`Base ${call.out.style.bold(base.name)} is there: ${how}${title}`,
      call.out.style.dim(`  ${shortDigest(base.digest)}`),
    ]);
    return undefined;
  });
}
