import { fstatSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import type { Fd } from '../kernel/fd.ts';
import { inodeGeneration } from '../kernel/inode-generation.ts';

/** What tells that a file is still the inode, with the bytes, that it was: cheaper than reading it. */
export interface FileWitness {
  /** Absent in what was written down: devices may be numbered anew at each boot. */
  dev?: bigint;
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  /** Absent where the file system keeps none. */
  generation?: number;
}

/** What the daemon keeps as a file of its own: for messages, and how long it is at least. */
export interface Witnessed {
  what: string;
  sizeMin: number;
}

/**
 * Looks at an open file. Throws state-damaged when it is no file of the daemon's own, can be written by others, or
 * is too short.
 */
export function witnessOf(file: Fd, { what, sizeMin }: Witnessed): FileWitness {
  const { dev, ino, size, mtimeNs, ctimeNs, mode, uid } = fstatSync(file.number, { bigint: true });
  const wrong = (reason: string) => new PersonaError('state-damaged', `${what}: ${reason}`);
  if ((mode & 0o170000n) !== 0o100000n) throw wrong('it is no file');
  if (uid !== BigInt(process.getuid?.() ?? 0) || (mode & 0o022n) !== 0n) {
    throw wrong('others than the daemon may write it');
  }
  if (size < BigInt(sizeMin)) throw wrong('it is too short');
  const generation = inodeGeneration(file);
  return {
    dev,
    ino,
    size,
    mtimeNs,
    ctimeNs,
    ...(generation === undefined ? {} : { generation }),
  };
}

/** True when both were taken of one unchanged file. */
export function sameFile(a: FileWitness, b: FileWitness): boolean {
  return (
    (a.dev === undefined || b.dev === undefined || a.dev === b.dev) &&
    a.ino === b.ino &&
    a.generation === b.generation &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

/** As a row keeps it. */
export function writtenWitness({ dev: _, generation, ...rest }: FileWitness): string {
  const { ino, size, mtimeNs, ctimeNs } = rest;
  return JSON.stringify([...[ino, size, mtimeNs, ctimeNs].map(String), generation ?? null]);
}

/** The witness of a row. */
export function readWitness(text: string): FileWitness {
  const [ino, size, mtimeNs, ctimeNs, generation] = JSON.parse(text) as [
    ...[string, string, string, string],
    number | null,
  ];
  return {
    ino: BigInt(ino),
    size: BigInt(size),
    mtimeNs: BigInt(mtimeNs),
    ctimeNs: BigInt(ctimeNs),
    ...(generation === null ? {} : { generation }),
  };
}
