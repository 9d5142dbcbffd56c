import { join } from 'node:path';
import type { Json } from '../changes/task.ts';
import { exists, moveDurably } from '../kernel/files.ts';
import { writeRecord } from '../kernel/records.ts';
import type { Store, Tx } from '../store/store.ts';
import type { LayerKind } from './layer.ts';
import { layerFile } from './layer.ts';
import { removing, untilRemoved } from './removals.ts';
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
 * Open changes that have put a layer's file in its place, or will name one that was there, by path: two may want the
 * same content, and one that fails, or removes its last user, must not take away what the other commits.
 */
const claims = new Map<string, Set<number>>();

function claim(path: string, changeId: number): void {
  claims.set(path, (claims.get(path) ?? new Set()).add(changeId));
}

const pathOf = ({ paths }: Pick<Place, 'paths'>, digest: string): string =>
  join(paths.state, layerFile(digest));

/** Whether an open change needs the layer. */
export function isClaimed(room: Pick<Place, 'paths'>, digest: string): boolean {
  return claims.has(pathOf(room, digest));
}

/** Keeps a layer that is there for a change that will name it, until `settleLayer`. False when it is gone. */
export async function claimLayer(
  room: Place & { store: Store },
  changeId: number,
  digest: string,
): Promise<boolean> {
  // First the claim: a removal that is committed from here on leaves the row.
  claim(pathOf(room, digest), changeId);
  if (await hasRow(room.store, digest)) return true;
  settleLayer(room, changeId, digest);
  return false;
}

async function hasRow(store: Store, digest: string): Promise<boolean> {
  return (await store.get('SELECT 1 FROM layers WHERE digest = ?', digest)) !== undefined;
}

function recordFile(path: string): string {
  return path.replace(/\.erofs$/, '.json');
}

/**
 * Gives a built, synced image its place among the layers, sealed where that can be, with the record that describes it; durable
 * when this returns. Safe to repeat. The row comes later, in the commit of the change: of the layer as it is returned.
 */
export async function adoptLayer(
  room: Place,
  changeId: number,
  stagedPath: string,
  layer: StoredLayer,
): Promise<StoredLayer> {
  const path = pathOf(room, layer.digest);
  claim(path, changeId);
  await untilRemoved(path);
  const staged = await exists(stagedPath);
  const seal = await sealImage(room, staged ? stagedPath : path, layerFile(layer.digest));
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
  await dropLayerFile(room, digest);
}

/** Ends the change's claim on the layer: it is committed, or taken back. */
export function settleLayer(room: Place, changeId: number, digest: string): void {
  const path = pathOf(room, digest);
  const of = claims.get(path);
  of?.delete(changeId);
  if (of?.size === 0) claims.delete(path);
}

/** Removes the file of a layer that has no row. Safe to repeat. */
export async function dropLayerFile(room: Place & { store: Store }, digest: string): Promise<void> {
  if (await hasRow(room.store, digest)) return;
  // Nothing waits between this look and the removal: whoever claims the place from here on waits for it.
  if (isClaimed(room, digest)) return;
  const path = pathOf(room, digest);
  await removing(path, [path, recordFile(path)]);
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
