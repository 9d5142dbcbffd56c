import { join } from 'node:path';
import type { Json } from '../changes/task.ts';
import { exists, moveDurably, removeFile } from '../kernel/files.ts';
import { writeRecord } from '../kernel/records.ts';
import type { Store, Tx } from '../store/store.ts';
import { layerFile } from './base-facts.ts';
import type { LayerKind } from './layer.ts';
import type { PersonasRoom } from './room.ts';
import { sealImage } from './seals.ts';

/** A layer as the store keeps it: enough to adopt it again without the database. */
export interface StoredLayer {
  digest: string;
  kind: LayerKind;
  bytes: number;
  /** How its image came to be. */
  made: 'created' | 'rebuilt' | 'captured';
  createdMs: number;
  /** Digest over everything it was made from, for the cache. */
  input?: string;
  detail?: { [key: string]: Json };
}

type Place = Pick<PersonasRoom, 'paths' | 'seals'>;

/**
 * Open changes that have put a layer's file in its place and not yet ended, by path: two may bring the same
 * content, and the failing one must not take away what the other commits.
 */
const adopters = new Map<string, Set<number>>();

function recordFile(path: string): string {
  return path.replace(/\.erofs$/, '.json');
}

/**
 * Gives a built, synced image its place among the layers, sealed where that can be, with the record that describes it; durable
 * when this returns. Safe to repeat. The row comes later, in the commit of the change: of the layer as it is returned.
 */
export async function adoptLayer(
  { paths, seals }: Place,
  changeId: number,
  stagedPath: string,
  layer: StoredLayer,
): Promise<StoredLayer> {
  const path = join(paths.state, layerFile(layer.digest));
  const of = adopters.get(path) ?? new Set();
  adopters.set(path, of.add(changeId));
  const staged = await exists(stagedPath);
  const seal = await sealImage({ seals }, staged ? stagedPath : path, layerFile(layer.digest));
  // Also over an equal file: whichever stands there, its bytes are these.
  if (staged) await moveDurably(stagedPath, path);
  const { detail, ...facts } = layer;
  const sealed: StoredLayer = { ...facts, detail: { ...detail, ...seal } };
  await writeRecord(recordFile(path), 'layer', { ...facts, ...sealed.detail });
  return sealed;
}

/** Takes back what `adoptLayer` did, unless a row or another open change needs the file by now. Safe to repeat. */
export async function abandonLayer(
  room: Place & { store: Store },
  changeId: number,
  digest: string,
): Promise<void> {
  settleLayer(room, changeId, digest);
  const path = join(room.paths.state, layerFile(digest));
  if (adopters.has(path)) return;
  await dropLayerFile(room, digest);
}

/** Ends the change's claim on the layer: it is committed, or taken back. */
export function settleLayer({ paths }: Place, changeId: number, digest: string): void {
  const path = join(paths.state, layerFile(digest));
  const of = adopters.get(path);
  of?.delete(changeId);
  if (of?.size === 0) adopters.delete(path);
}

/** Removes the file of a layer that has no row. Safe to repeat. */
export async function dropLayerFile(
  { store, paths }: Place & { store: Store },
  digest: string,
): Promise<void> {
  const path = join(paths.state, layerFile(digest));
  if (adopters.has(path)) return;
  if ((await store.get('SELECT 1 FROM layers WHERE digest = ?', digest)) !== undefined) return;
  await removeFile(path);
  await removeFile(recordFile(path));
}

/** Adds the row of a layer; the same content may have one already. */
export function putLayer(tx: Tx, layer: StoredLayer, change: number): void {
  tx.run(
    `INSERT INTO layers (digest, kind, input, bytes, made, created, change, detail)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING`,
    layer.digest,
    layer.kind,
    layer.input ?? null,
    layer.bytes,
    layer.made,
    layer.createdMs,
    change,
    JSON.stringify(layer.detail ?? {}),
  );
}

/** Forgets a layer that neither a base nor a persona needs any more. */
export function forgetUnusedLayer(tx: Tx, digest: string): void {
  tx.run(
    `DELETE FROM layers WHERE digest = ?
        AND NOT EXISTS (SELECT 1 FROM bases WHERE digest = ?)
        AND NOT EXISTS (SELECT 1 FROM personas WHERE base_digest = ?)
        AND NOT EXISTS (SELECT 1 FROM persona_layers WHERE digest = ?)`,
    digest,
    digest,
    digest,
    digest,
  );
}
