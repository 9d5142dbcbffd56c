import type { Row, Store, Tx } from '../store/store.ts';
import type { FastPartition, MediumName } from './partition.ts';

type Detail = Pick<FastPartition, 'gid' | 'volume' | 'emptiedMs' | 'swaps' | 'buffered' | 'device'>;

function partitionOf(row: Row): FastPartition {
  return {
    name: String(row.name),
    id: String(row.id),
    owner: Number(row.owner),
    medium: row.medium as MediumName,
    bytes: Number(row.bytes),
    state: row.state as FastPartition['state'],
    boot: String(row.boot),
    createdMs: Number(row.created),
    ...(JSON.parse(String(row.detail)) as Detail),
  };
}

/** All fast partitions, by name. */
export async function readPartitions(store: Store): Promise<FastPartition[]> {
  return (await store.all('SELECT * FROM fast ORDER BY name')).map(partitionOf);
}

/** The partition of this name, or undefined. */
export async function findPartition(
  store: Store,
  name: string,
): Promise<FastPartition | undefined> {
  const row = await store.get('SELECT * FROM fast WHERE name = ?', name);
  return row === undefined ? undefined : partitionOf(row);
}

/** Adds a partition, or writes what may change of it. */
export function putPartition(tx: Tx, partition: FastPartition, change?: number): void {
  const { name, id, owner, medium, bytes, state, boot, createdMs, ...detail } = partition;
  tx.run(
    `INSERT INTO fast (name, id, owner, medium, bytes, state, boot, created, change, detail)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes, state = excluded.state, boot = excluded.boot, detail = excluded.detail`,
    name,
    id,
    owner,
    medium,
    bytes,
    state,
    boot,
    createdMs,
    change ?? null,
    JSON.stringify(detail),
  );
}

/** Forgets a partition. */
export function deletePartition(tx: Tx, name: string): void {
  tx.run('DELETE FROM fast WHERE name = ?', name);
}
