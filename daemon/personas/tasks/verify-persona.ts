import { join } from 'node:path';
import { PersonaError, toWire } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import type { OspReport } from '../../images/worker-persona.ts';
import { openSealed } from '../../kernel/sealed.ts';
import { askWorker, stepTimeoutMs } from '../image-children.ts';
import type { Persona } from '../persona.ts';
import { personaFile } from '../persona-files.ts';
import { verifyKind } from '../persona-verify.ts';
import type { PersonasRoom } from '../room.ts';
import { checkTrust } from '../trust.ts';
import { rangeDigest } from '../verified-range.ts';
import { step } from './steps.ts';

type Check = { what: string; ok: boolean; detail: string };

/** Reads everything of a persona again. A check that fails is an answer, not an error. */
export function verifyPersona(room: PersonasRoom): AnyTask {
  return defineTask<{ digest: string }>({
    kind: verifyKind,
    summary: () => 'Read every layer again; compare digests and signature',
    timeoutMs: stepTimeoutMs,
    undo: 'nothing-to-undo',
    do: (context, { digest }) =>
      step(async () => {
        const persona = room.book.persona(digest);
        const checks: Check[] = [];
        const total = persona.bytes + persona.layers.reduce((sum, { bytes }) => sum + bytes, 0);
        let before = 0;
        const onBytes = (done: number): void => {
          context.signal.throwIfAborted();
          context.progress({ done: before + done, total, unit: 'bytes' });
        };
        const file = join(room.paths.state, personaFile(digest));
        checks.push(
          await check('the persona file', context, async () => {
            const found = await rangeDigest(file, 0, persona.bytes, onBytes);
            return compare(persona.fileDigest, found);
          }),
          await check('the members', context, () => members(context, file, persona)),
        );
        before += persona.bytes;
        for (const layer of persona.layers) {
          const path = join(room.paths.state, layer.file);
          checks.push(
            await check(`the ${layer.kind} layer`, context, async () => {
              const found = await rangeDigest(path, layer.offset, layer.bytes, onBytes);
              return compare(layer.digest, found);
            }),
          );
          before += layer.bytes;
        }
        checks.push(
          await check('the signature', context, async () => {
            checkTrust(room.book, persona);
            return `of the key ${persona.signature?.key_id ?? '?'}`;
          }),
        );
        return { result: { ok: checks.every(({ ok }) => ok), checks } };
      }),
  });
}

async function check(
  what: string,
  context: TaskContext,
  work: () => Promise<string>,
): Promise<Check> {
  try {
    return { what, ok: true, detail: await work() };
  } catch (error) {
    context.signal.throwIfAborted();
    return { what, ok: false, detail: toWire(error).message };
  }
}

function compare(expected: string, found: string): string {
  if (expected === found) return found;
  throw new PersonaError('digest-mismatch', { what: 'it', expected, found });
}

async function members(context: TaskContext, file: string, persona: Persona): Promise<string> {
  const handle = await openSealed(file);
  try {
    const { identity } = (await askWorker(['osp'], [handle], context)) as OspReport;
    return compare(persona.digest, identity);
  } finally {
    await handle.close();
  }
}
