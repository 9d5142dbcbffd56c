import { stat } from 'node:fs/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { checkName } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json } from '../changes/task.ts';
import { diskUsageOf } from '../kernel/disk-usage.ts';
import type { BaseSource } from './base-source.ts';
import { findBaseRow } from './bases.ts';
import { checkShare } from './owner-share.ts';
import type { PersonasRoom } from './room.ts';

/** What an import is asked to do. */
export interface BaseImport {
  name: string;
  source: BaseSource;
}

/**
 * Bytes that an import will write at most, as far as its source tells: the running system as much as its disk
 * holds; a file its own length (a packed one grows while it is read, and is watched then).
 */
async function bytesOf(source: BaseSource): Promise<number> {
  if (source.kind === 'host') {
    const { totalBytes, freeBytes } = await diskUsageOf('/');
    return totalBytes - freeBytes;
  }
  try {
    const stats = await stat(source.path);
    return stats.isFile() ? stats.size : 0;
  } catch {
    // The step that opens it says what is wrong.
    return 0;
  }
}

/** The change that imports a base. Throws bad-name, or already-exists when the name is taken. */
export async function planBaseImport(
  room: PersonasRoom,
  { name, source }: BaseImport,
  ownerUid: number,
): Promise<Plan> {
  checkName(name);
  if ((await findBaseRow(room.store, name)) !== undefined) {
    throw new PersonaError('already-exists', { what: `the base ${name}` });
  }
  await checkShare(room, ownerUid, 0);
  const from =
    source.kind === 'host'
      ? 'the running system'
      : source.kind === 'path'
        ? source.path
        : 'an upload';
  const given = { name, source } satisfies Json;
  return {
    kind: 'base.import',
    summary: `Import ${from} as base ${name}`,
    ownerUid,
    holds: [`base:${name}`, 'shared:layers:all'],
    tasks: [
      { kind: 'bases.build', params: given },
      { kind: 'bases.commit', params: { name } },
      { kind: 'bases.finish', params: { name } },
    ],
    needs: { bytes: await bytesOf(source) },
  };
}
