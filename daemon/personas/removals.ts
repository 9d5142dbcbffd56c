import { removeFile } from '../kernel/files.ts';

/** Removals that are not over, by the file they are about. */
const underWay = new Map<string, Promise<void>>();

/** Removes these files, in this order; who asks for `place` meanwhile waits. */
export async function removing(place: string, files: readonly string[]): Promise<void> {
  const before = underWay.get(place);
  const work = (async () => {
    await before?.catch(() => undefined);
    for (const file of files) await removeFile(file);
  })();
  underWay.set(place, work);
  try {
    await work;
  } finally {
    if (underWay.get(place) === work) underWay.delete(place);
  }
}

/** Resolves when nothing removes what lies at `place`: a file that is put there from now on stays. */
export async function untilRemoved(place: string): Promise<void> {
  await underWay.get(place)?.catch(() => undefined);
}
