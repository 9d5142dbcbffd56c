import { closeSync, openSync, readSync, writeSync } from 'node:fs';

// The log of a disk: every write and every flush, in the order in which the disk took them.
// Each entry: kind (u32), length of the data (u32), offset on the disk (u64), the data.

const headBytes = 16;
const kinds = { write: 1, flush: 2 } as const;

/** One write, or one flush (which has no place and no data). */
export interface LogEntry {
  kind: keyof typeof kinds;
  offset: number;
  length: number;
  /** Where its data begins in the log. */
  at: number;
  /** Where it ends in the log: a log of at least this many bytes holds it. */
  end: number;
}

/** Appends one entry to the open log. The data of a write first stands in the log, then on the disk. */
export function appendEntry(fd: number, kind: LogEntry['kind'], offset = 0, data?: Buffer): void {
  const head = Buffer.alloc(headBytes);
  head.writeUInt32LE(kinds[kind], 0);
  head.writeUInt32LE(data?.length ?? 0, 4);
  head.writeBigUInt64LE(BigInt(offset), 8);
  writeSync(fd, data === undefined ? head : Buffer.concat([head, data]));
}

/** All entries of a log. An entry that was cut off at the end of the log is left out. */
export function readLog(file: string): LogEntry[] {
  const fd = openSync(file, 'r');
  const head = Buffer.alloc(headBytes);
  const entries: LogEntry[] = [];
  try {
    for (let start = 0; readSync(fd, head, 0, headBytes, start) === headBytes; ) {
      const length = head.readUInt32LE(4);
      const offset = Number(head.readBigUInt64LE(8));
      const at = start + headBytes;
      const kind = head.readUInt32LE(0) === kinds.flush ? 'flush' : 'write';
      entries.push({ kind, offset, length, at, end: at + length });
      start = at + length;
    }
    const last = entries.at(-1);
    if (last !== undefined && last.length > 0)
      if (readSync(fd, head, 0, 1, last.end - 1) === 0) entries.pop();
    return entries;
  } finally {
    closeSync(fd);
  }
}
