import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { writeDurably } from './files.ts';

/** A record is small by nature; a larger file is not one of ours. */
const RECORD_BYTES_MAX = 1 << 20;
const FORMAT = 'persona-record';

/** What stands in a record: plain JSON. */
export type RecordBody = { [key: string]: unknown };

/** JSON with sorted keys: the same value always gives the same bytes. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (item === null || typeof item !== 'object' || Array.isArray(item)) return item;
    return Object.fromEntries(
      Object.entries(item).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
    );
  });
}

function checksum(kind: string, body: RecordBody): string {
  return createHash('sha256').update(canonicalJson({ kind, body })).digest('hex');
}

/**
 * Writes the record that describes the thing it lies beside, durably and in one piece, with a checksum of
 * itself: what recovery, and a human without the database, need to adopt the thing again (SECURITY 7).
 */
export async function writeRecord(path: string, kind: string, body: RecordBody): Promise<void> {
  const record = { format: FORMAT, version: 1, kind, body, sha256: checksum(kind, body) };
  await writeDurably(path, `${JSON.stringify(record, null, 2)}\n`, 0o400);
}

/** Reads a record of `kind`; undefined when the file is absent, damaged, too large or of another kind. */
export async function readRecord(path: string, kind: string): Promise<RecordBody | undefined> {
  let text: string;
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const { size } = await handle.stat();
      if (size > RECORD_BYTES_MAX) return undefined;
      text = await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const record = JSON.parse(text) as Record<string, unknown>;
    const body = record.body as RecordBody;
    if (record.format !== FORMAT || record.version !== 1 || record.kind !== kind) return undefined;
    return record.sha256 === checksum(kind, body) ? body : undefined;
  } catch {
    return undefined;
  }
}
