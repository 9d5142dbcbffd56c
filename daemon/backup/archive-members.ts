import type { FileHandle } from 'node:fs/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { startConfined } from '../kernel/confined.ts';
import { confinedWorker } from '../kernel/program-files.ts';
import { badBackup } from './archive.ts';
import { type FilePatience, fileHangs } from './patience.ts';
import { toldBy } from './told-by.ts';

/** A member as its header has it. */
export interface Listed {
  /** Byte string. */
  name: string;
  type: string;
  size: number;
  /** It has holes. */
  sparse: boolean;
  dataOffset: number;
}

/** As many members as a backup may have, from a slow disk: each header is one read of it. */
const deadlineMs = 4 * 3_600_000;

/** Characters of one line about a member: our names are short. */
const lineCharsMax = 64 * 1024;

/**
 * The members of the tar in an open file, in their order. A confined child reads the headers: a large file has ten thousands, each
 * at another place of the disk, and a disk that does not answer holds up nobody but the child. Throws bad-archive, timed-out.
 */
export async function* membersOf(
  { fd }: FileHandle,
  { answerMs, signal }: FilePatience,
): AsyncGenerator<Listed> {
  const child = await startConfined({ ...confinedWorker(['members']), deadlineMs, fds: [fd] });
  let isSilent = false;
  const silence = setTimeout(() => {
    isSilent = true;
    child.kill();
  }, answerMs);
  signal?.addEventListener('abort', child.kill, { once: true });
  try {
    signal?.throwIfAborted();
    let rest = '';
    for await (const piece of child.stdout.setEncoding('utf8') as AsyncIterable<string>) {
      silence.refresh();
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > lineCharsMax) throw badBackup('it has a member with too long a name');
      for (const line of lines) yield JSON.parse(line) as Listed;
    }
    await child.done;
  } catch (error) {
    if (signal?.aborted) throw new PersonaError('cancelled');
    throw isSilent ? fileHangs() : toldBy(error, 'the image worker');
  } finally {
    clearTimeout(silence);
    signal?.removeEventListener('abort', child.kill);
    child.kill();
    await child.done.catch(() => undefined);
  }
}
