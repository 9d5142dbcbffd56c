import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { statePlaces } from '../config/paths.ts';
import { treeSize } from '../kernel/tree-size.ts';
import type { Store } from '../store/store.ts';
import type { Collectable } from './collect.ts';
import type { Space } from './space.ts';
import { layerKindNames } from './unused-layers.ts';
import type { UpperPlace, VolumeUsage } from './upper-volume.ts';

/** What one kind of thing takes. */
export interface KindUsage {
  kind: string;
  count: number;
  bytes: number;
  /** Of `bytes`, what a collection would give back. */
  reclaimableBytes: number;
}

/** What `system df` shows. */
export interface Usage {
  path: string;
  totalBytes: number;
  freeBytes: number;
  /** Kept free: new work that would leave less is refused. As `daemon.status` tells it. */
  reserveBytes: number;
  /** The volume that uppers live on, where they do. */
  volume?: VolumeUsage;
  kinds: KindUsage[];
}

function fileBytes(path: string): number {
  try {
    return lstatSync(path).blocks * 512;
  } catch {
    return 0;
  }
}

/** Volumes, as far as they count here. */
export interface VolumesUsed {
  count: number;
  /** Bytes of the disk that their images own. */
  ownedBytes: number;
  /** Folders in them that hold what slots write. */
  slots: readonly string[];
}

/** What takes space in the state tree, and what of it nothing uses any more. */
export async function usageOf(
  state: string,
  store: Store,
  space: Space,
  collectable: readonly Collectable[],
  place: UpperPlace,
  volumes: VolumesUsed,
): Promise<Usage> {
  const { totalBytes, availableBytes, keepFreeBytes, reserveBytes } = space.usage();
  const reclaimable = (kind: string): number =>
    collectable.filter((one) => one.kind === kind).reduce((sum, one) => sum + one.bytes, 0);
  const kinds: KindUsage[] = [];
  const rows = await store.all(
    'SELECT kind, count(*) AS n, sum(bytes) AS bytes FROM layers GROUP BY kind ORDER BY kind',
  );
  for (const row of rows) {
    const kind = String(row.kind);
    const name = layerKindNames[kind] ?? kind;
    const freed = reclaimable(name);
    kinds.push({
      kind: name,
      count: Number(row.n),
      bytes: Number(row.bytes),
      reclaimableBytes: freed,
    });
  }
  const [personas] = await store.all('SELECT count(*) AS n FROM personas');
  const folders = [
    ['personas', statePlaces.personas, Number(personas?.n ?? 0)],
    ['uppers', statePlaces.slots, await uppersOf(store)],
    ['enclaves', statePlaces.enclaves, await enclavesOf(store)],
    ['staging', statePlaces.staging, undefined],
    ['fast', statePlaces.fast, undefined],
    ['quarantine', statePlaces.quarantine, undefined],
  ] as const;
  let inVolumes = 0;
  for (const folder of volumes.slots) inVolumes += (await treeSize(folder)).bytes;
  for (const [kind, folder, known] of folders) {
    const { bytes: all, entries } = await treeSize(join(state, folder));
    // The reserve of the upper volume belongs to the volume.
    const own = all - fileBytes(join(state, folder, `.${statePlaces.reserve}`));
    const bytes = own + (folder === statePlaces.slots ? inVolumes : 0);
    const count = known ?? entries;
    kinds.push({ kind, count, bytes, reclaimableBytes: Math.min(bytes, reclaimable(kind)) });
  }
  const volume = place.usage();
  if (volume !== undefined) {
    const used = (kinds.find(({ kind }) => kind === 'uppers')?.bytes ?? 0) - inVolumes;
    const bytes = Math.max(0, place.ownedBytes() - used);
    kinds.push({ kind: 'volume', count: 1, bytes, reclaimableBytes: 0 });
  }
  if (volumes.count > 0) {
    // What slots have in them counts as theirs.
    const bytes = Math.max(0, volumes.ownedBytes - inVolumes);
    kinds.push({ kind: 'volumes', count: volumes.count, bytes, reclaimableBytes: 0 });
  }
  const database = ['', '-wal', '-shm'].map((end) =>
    fileBytes(join(state, `${statePlaces.database}${end}`)),
  );
  const databaseBytes = database.reduce((sum, bytes) => sum + bytes, 0);
  kinds.push({ kind: 'database', count: 1, bytes: databaseBytes, reclaimableBytes: 0 });
  kinds.push({ kind: 'reserve', count: 1, bytes: reserveBytes, reclaimableBytes: 0 });
  const whole = {
    path: state,
    totalBytes,
    freeBytes: availableBytes,
    reserveBytes: keepFreeBytes,
  };
  return { ...whole, ...(volume === undefined ? {} : { volume }), kinds };
}

async function enclavesOf(store: Store): Promise<number> {
  return Number((await store.get('SELECT count(*) AS n FROM enclaves'))?.n ?? 0);
}

async function uppersOf(store: Store): Promise<number> {
  return Number(
    (await store.get("SELECT count(*) AS n FROM uppers WHERE state <> 'gone'"))?.n ?? 0,
  );
}
