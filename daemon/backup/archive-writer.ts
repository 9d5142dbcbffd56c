import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { formatTarHeader, tarNameBytesMax, tarNumberMax } from '../images/tar-blocks.ts';
import { tarBlockBytes, tarPadded } from '../images/tar-headers.ts';
import { formatPax, type PaxRecord } from '../images/tar-pax.ts';
import {
  archiveNames,
  badBackup,
  type Member,
  manifestText,
  membersMax,
  pieceBytes,
} from './archive.ts';

/** Where a backup goes, piece by piece. */
export interface Outlet {
  /** Resolves when more may come. Rejects when nobody takes it any more. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Bytes of one read. */
const readBytes = 1 << 20;

/** Writes the members of a backup, one after the other, and keeps the list of them. */
export class ArchiveWriter {
  readonly members: Member[] = [];
  /** Bytes written so far. */
  bytes = 0;
  #out: Outlet;
  #mtime: number;
  #signal: AbortSignal;

  /** @param madeMs time of all members, milliseconds since 1970. */
  constructor(out: Outlet, madeMs: number, signal: AbortSignal) {
    this.#out = out;
    this.#mtime = Math.floor(madeMs / 1000);
    this.#signal = signal;
  }

  async #put(bytes: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted();
    await this.#out.write(bytes);
    this.bytes += bytes.length;
  }

  async #header(name: string, size: number): Promise<void> {
    if (this.members.length >= membersMax)
      throw new PersonaError('limit-exceeded', {
        what: 'the backup',
        limit: `${membersMax} files`,
      });
    const facts = { mode: 0o600, mtime: this.#mtime };
    const bytes = Buffer.from(name).toString('latin1');
    const records = paxRecords(bytes, size);
    if (records.length > 0) {
      const body = formatPax(records);
      const head = formatTarHeader({
        name: 'PaxHeaders/x',
        type: 'x',
        size: body.length,
        ...facts,
      });
      await this.#put(Buffer.concat([head, body, padding(body.length)]));
    }
    await this.#put(formatTarHeader({ name: bytes, type: '0', size, ...facts }));
  }

  /** A member of known bytes, given in parts. */
  async whole(name: string, ...parts: Uint8Array[]): Promise<void> {
    const size = parts.reduce((sum, { length }) => sum + length, 0);
    const hash = createHash('sha256');
    await this.#header(name, size);
    for (const part of parts) {
      hash.update(part);
      await this.#put(part);
    }
    if (tarPadded(size) > size) await this.#put(padding(size));
    this.members.push({ name, bytes: size, sha256: hash.digest('hex') });
  }

  /** An open file that does not change. Returns its SHA-256 in hexadecimal. Throws when it is shorter than it says. */
  async file(name: string, handle: FileHandle, onBytes: () => void): Promise<string> {
    const { size } = await handle.stat();
    await this.#header(name, size);
    const hash = createHash('sha256');
    for (let done = 0; done < size; ) {
      // A new one each time: the one before may still be on its way.
      const piece = Buffer.allocUnsafe(Math.min(readBytes, size - done));
      const { bytesRead } = await handle.read(piece, 0, piece.length, done);
      if (bytesRead === 0) throw badBackup(`${name} became shorter while it was read`);
      hash.update(piece.subarray(0, bytesRead));
      await this.#put(piece.subarray(0, bytesRead));
      done += bytesRead;
      onBytes();
    }
    if (tarPadded(size) > size) await this.#put(padding(size));
    const sha256 = hash.digest('hex');
    this.members.push({ name, bytes: size, sha256 });
    return sha256;
  }

  /** A stream of unknown length, in pieces of one size. */
  async stream(prefix: string, source: AsyncIterable<Buffer>, onBytes: () => void): Promise<void> {
    let parts: Buffer[] = [];
    let waiting = 0;
    let count = 0;
    const flush = async (): Promise<void> => {
      const name = `${prefix}${String(count).padStart(6, '0')}`;
      await this.whole(name, ...parts);
      count += 1;
      parts = [];
      waiting = 0;
      onBytes();
    };
    for await (const part of source) {
      parts.push(part);
      waiting += part.length;
      if (waiting >= pieceBytes) await flush();
    }
    if (waiting > 0) await flush();
  }

  /** The manifest, and the end mark of the archive. */
  async end(): Promise<void> {
    const text = Buffer.from(manifestText(this.members));
    await this.whole(archiveNames.manifest, text);
    await this.#put(Buffer.alloc(2 * tarBlockBytes));
  }
}

/** What the header block cannot say. `name` is a byte string; tar has one that is not ASCII in this record only. */
function paxRecords(name: string, size: number): PaxRecord[] {
  const plain = name.length <= tarNameBytesMax && /^[ -~]*$/.test(name);
  return [
    ...(plain ? [] : [['path', name] as const]),
    ...(size > tarNumberMax.long ? [['size', String(size)] as const] : []),
  ];
}

function padding(bytes: number): Buffer {
  return Buffer.alloc(tarPadded(bytes) - bytes);
}
