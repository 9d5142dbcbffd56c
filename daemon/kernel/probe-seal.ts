import { openSync, writeFileSync } from 'node:fs';
import { failedWith } from './errno.ts';
import { Fd } from './fd.ts';
import { enableVerity, measureVerity } from './verity.ts';

/** What `fsverity digest` says of a file with the content `persona`. */
export const probeSeal = 'sha256:c3dbbaa553c358b86f328d42b23f09bf3600979aea95fa5ddde5cd965b562bf2';

/** Seals a file in `folder`, which its caller removes. Returns what was measured; throws the reason why that cannot be done. */
export async function trySeal(folder: string): Promise<string> {
  const path = `${folder}/sealed`;
  writeFileSync(path, 'persona', { mode: 0o400 });
  using file = new Fd(openSync(path, 'r'), 'probe sealed');
  await enableVerity(file);
  const found = measureVerity(file);
  if (found !== probeSeal) throw new Error(`the kernel measures ${found ?? 'nothing'}`);
  try {
    writeFileSync(path, 'other');
  } catch (error) {
    if (failedWith(error, 'EPERM')) return found;
    throw error;
  }
  throw new Error('a sealed file could be written');
}
