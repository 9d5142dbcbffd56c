import { fstatSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import type { Fd } from '../kernel/fd.ts';
import type { Layer } from './layer.ts';

/** What tells that a file is still the inode, with the bytes, that it was: cheaper than reading it. */
export interface FileWitness {
  dev: bigint;
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

/**
 * Looks at the open file of a layer. Throws state-damaged when it is no file of the daemon's own, can be written by
 * others, or is too short for the image.
 */
export function witnessOf(file: Fd, layer: Layer): FileWitness {
  const { dev, ino, size, mtimeNs, ctimeNs, mode, uid } = fstatSync(file.number, { bigint: true });
  const wrong = (reason: string) =>
    new PersonaError('state-damaged', `the ${layer.kind} layer ${layer.file}: ${reason}`);
  if ((mode & 0o170000n) !== 0o100000n) throw wrong('it is no file');
  if (uid !== BigInt(process.getuid?.() ?? 0) || (mode & 0o022n) !== 0n) {
    throw wrong('others than the daemon may write it');
  }
  if (size < BigInt(layer.offset + layer.size)) throw wrong('it is too short');
  return { dev, ino, size, mtimeNs, ctimeNs };
}

/** True when both were taken of one unchanged file. */
export function sameFile(a: FileWitness, b: FileWitness): boolean {
  return (
    a.dev === b.dev &&
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}
