import { hashOf, openSealed } from '../kernel/sealed.ts';

/** SHA-256 of a range of one of our files, read again from the disk. `onBytes` sees the count as it grows. */
export async function rangeDigest(
  path: string,
  offset: number,
  length: number,
  onBytes?: (done: number) => void,
): Promise<string> {
  const handle = await openSealed(path);
  try {
    return await hashOf(handle, { offset, length }, onBytes);
  } finally {
    await handle.close();
  }
}
