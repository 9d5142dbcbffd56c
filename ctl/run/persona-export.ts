import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { checkTarget, exportTo } from '../download.ts';
import { say } from '../print/safe.ts';
import { shortDigest } from '../print/time.ts';

/** `personactl persona export`: to the file that is named, or to PERSONA.osp in this folder. */
export async function exportPersona(call: Call): Promise<undefined> {
  const persona = call.reference('PERSONA');
  const path = call.text('output') ?? `${persona.replace('sha256:', '')}.osp`;
  await checkTarget(call, path, call.has('force'));
  const file = await exportTo(call, persona, path, call.has('original'));
  call.out.done({ file }, () => [
    say`Written to ${file.path}, ${formatSize(file.bytes)}. ${call.out.style.dim(shortDigest(file.digest))}`,
  ]);
}
