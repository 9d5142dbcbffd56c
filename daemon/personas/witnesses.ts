import { join } from 'node:path';
import { isCode } from '../../ipc/errors.ts';
import { bootId } from '../kernel/clock.ts';
import { failedWith } from '../kernel/errno.ts';
import { openFile } from '../kernel/openat.ts';
import type { Row, Store, Tx } from '../store/store.ts';
import {
  type FileWitness,
  readWitness,
  sameFile,
  witnessOf,
  writtenWitness,
} from './file-witness.ts';
import type { KeptFile } from './kept-files.ts';

/** What is known of a file of the state tree. */
export interface Known {
  /** Digest that all its bytes must have. */
  digest: string;
  /** What it was when it was last right, or, damaged, when that was found; absent when it was not there. */
  witness?: FileWitness;
  /** When all of it was last hashed and right; absent when that was never, or before it became another inode. */
  hashed?: { atMs: number; boot: string };
  damage?: { problem: string; foundMs: number };
}

/** How a look at all files came out. */
export interface Looked {
  atMs: number;
  tookMs: number;
  files: number;
  /** Files that are not what they were: hashed again before they are mounted. */
  changed: number;
  damaged: number;
}

type WitnessStore = Pick<Store, 'all' | 'commitSoon'>;

function knownOf({ digest, witness, hashed, boot, problem, found }: Row): Known {
  return {
    digest: String(digest),
    ...(witness === null ? {} : { witness: readWitness(String(witness)) }),
    ...(hashed === null ? {} : { hashed: { atMs: Number(hashed), boot: String(boot) } }),
    ...(problem === null ? {} : { damage: { problem: String(problem), foundMs: Number(found) } }),
  };
}

/**
 * What every file of personas and layers was when it was last right, in memory and in rows: a file that still is that is
 * not read again before it is mounted, and one that was found damaged is not mounted.
 */
export class Witnesses {
  #store: WitnessStore;
  #state: string;
  #known = new Map<string, Known>();
  #listener: (file: string) => void = () => undefined;
  /** The look at the start of the daemon. */
  looked: Looked | undefined;

  /** @param state folder of the state tree, in which all paths lie. */
  constructor(store: WitnessStore, state: string) {
    this.#store = store;
    this.#state = state;
  }

  async load(): Promise<void> {
    const rows = await this.#store.all('SELECT * FROM witnesses');
    this.#known = new Map(rows.map((row) => [String(row.file), knownOf(row)]));
  }

  /** By path in the state tree. */
  get(file: string): Known | undefined {
    return this.#known.get(file);
  }

  /** Why nothing may be mounted from this file, or undefined. */
  problemOf(file: string): string | undefined {
    return this.#known.get(file)?.damage?.problem;
  }

  /** True when any file is damaged. */
  get anyDamaged(): boolean {
    return [...this.#known.values()].some(({ damage }) => damage !== undefined);
  }

  /** Who is told of each file that is found damaged. */
  whenDamaged(listener: (file: string) => void): void {
    this.#listener = listener;
  }

  /** What the file is now. Throws state-damaged, or KernelError. */
  look(file: string, sizeMin: number): FileWitness {
    using opened = openFile(join(this.#state, file));
    return witnessOf(opened, { what: file, sizeMin });
  }

  /** What is known of a file in its place whose bytes were hashed on their way there. Throws as `look` does. */
  arrived(file: string, digest: string, atMs: number): Known {
    return { digest, witness: this.look(file, 0), hashed: { atMs, boot: bootId() } };
  }

  /** Adds the row of a file. */
  put(tx: Tx, file: string, known: Known): void {
    this.#known.set(file, known);
    writeRow(tx, file, known);
  }

  /** Notes what is known of a file, in its own time. */
  note(file: string, known: Known): void {
    const news = known.damage !== undefined && this.problemOf(file) === undefined;
    this.#known.set(file, known);
    // What is not written is found again.
    this.#store.commitSoon((tx) => writeRow(tx, file, known)).catch(() => undefined);
    if (news) this.#listener(file);
  }

  /** Notes that the file is another inode, or was touched, and has the bytes it must have all the same. */
  seen(file: string, witness: FileWitness): void {
    const known = this.#known.get(file);
    if (known === undefined) return;
    if (known.witness !== undefined && sameFile(known.witness, witness)) return;
    this.note(file, { digest: known.digest, witness });
  }

  /** Notes what is wrong with a file. */
  damaged(file: string, problem: string, atMs: number, witness?: FileWitness): void {
    const known = this.#known.get(file);
    if (known === undefined) return;
    const { digest, damage } = known;
    const seen = witness === undefined ? {} : { witness };
    const foundMs = damage?.problem === problem ? damage.foundMs : atMs;
    this.note(file, { digest, ...seen, damage: { problem, foundMs } });
  }

  /**
   * Looks at all files, which takes milliseconds: one that is not there or too short is damaged; one that is not what it was
   * must be hashed before it is mounted, also when it was damaged before; what is kept no more is forgotten.
   */
  lookAtAll(files: readonly KeptFile[], atMs: number): Looked {
    const startMs = performance.now();
    let changed = 0;
    for (const { file, digest, bytes } of files) changed += this.#lookAt(file, digest, bytes, atMs);
    const kept = new Set(files.map(({ file }) => file));
    const gone = [...this.#known.keys()].filter((file) => !kept.has(file));
    for (const file of gone) this.#known.delete(file);
    if (gone.length > 0)
      this.#store
        .commitSoon((tx) => {
          for (const file of gone) tx.run('DELETE FROM witnesses WHERE file = ?', file);
        })
        .catch(() => undefined);
    const damaged = files.filter(({ file }) => this.problemOf(file) !== undefined).length;
    const tookMs = performance.now() - startMs;
    this.looked = { atMs, tookMs, files: files.length, changed, damaged };
    return this.looked;
  }

  /** 1 when the file is not what it was. */
  #lookAt(file: string, digest: string, bytes: number, atMs: number): number {
    const before = this.#known.get(file);
    const known = before?.digest === digest ? before : { digest };
    let witness: FileWitness;
    try {
      witness = this.look(file, bytes);
    } catch (error) {
      const problem = lostOf(error);
      if (problem === undefined) throw error;
      this.#known.set(file, known);
      this.damaged(file, problem, atMs);
      return 1;
    }
    if (known.witness === undefined && known.damage === undefined) {
      // Seen for the first time: what it is from now on.
      this.note(file, { digest, witness });
      return 0;
    }
    if (known.witness !== undefined && sameFile(known.witness, witness)) {
      this.#known.set(file, known);
      return 0;
    }
    // The old witness, if any, stays: whoever mounts the file sees that it is another one, and hashes it.
    const old = known.witness ?? unlike(witness);
    this.note(file, { digest, witness: old });
    return 1;
  }
}

/** A witness that no file has. */
function unlike(witness: FileWitness): FileWitness {
  return { ...witness, ino: 0n };
}

/** What a look alone has found to be wrong; undefined for failures that say nothing of the file. */
function lostOf(error: unknown): string | undefined {
  if (failedWith(error, 'ENOENT')) return 'its file is not there';
  if (failedWith(error, 'ELOOP')) return 'it is a link';
  if (isCode(error, 'state-damaged')) return (error as Error).message.replace(/^.*: /, '');
  return undefined;
}

function writeRow(tx: Tx, file: string, { digest, witness, hashed, damage }: Known): void {
  tx.run(
    `INSERT OR REPLACE INTO witnesses (file, digest, witness, hashed, boot, problem, found)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
    file,
    digest,
    witness === undefined ? null : writtenWitness(witness),
    hashed?.atMs ?? null,
    hashed?.boot ?? null,
    damage?.problem ?? null,
    damage?.foundMs ?? null,
  );
}
