import { join } from 'node:path';
import { digestToFileName } from '../../ipc/values.ts';
import type { Json } from '../changes/task.ts';
import { statePlaces } from '../config/paths.ts';
import { removeFile } from '../kernel/files.ts';
import type { Store } from '../store/store.ts';
import type { Collectable, Collector } from './collect.ts';

/** Whoever makes or takes up layers holds this shared; the collection holds it alone. */
export const layersHold = 'layers:all';

/** No row of bases, personas, their layers or generations of slots names the layer. */
const unreferenced = `
  NOT EXISTS (SELECT 1 FROM bases WHERE bases.digest = layers.digest)
  AND NOT EXISTS (SELECT 1 FROM personas WHERE personas.base_digest = layers.digest)
  AND NOT EXISTS (SELECT 1 FROM persona_layers WHERE persona_layers.digest = layers.digest)
  AND NOT EXISTS (SELECT 1 FROM generations AS g WHERE g.base_digest = layers.digest
    OR EXISTS (SELECT 1 FROM json_each(g.detail, '$.layers') AS layer
               WHERE layer.value ->> '$.digest' = layers.digest))`;

/** Kinds of layers as the table of `system df` calls them. */
export const layerKindNames: Readonly<Record<string, string>> = {
  base: 'bases',
  diff: 'diffs',
  apps: 'applications',
  seed: 'seeds',
  config: 'configs',
};

/** Layers that nothing refers to: of removed bases and personas, and of imports that were given up. */
export function unusedLayers(state: string, store: Store): Collector {
  const fileOf = (digest: string, end: string) =>
    join(state, statePlaces.layers, `${digestToFileName(digest)}${end}`);
  return {
    key: 'layers',
    async find(most) {
      const rows = await store.all(
        `SELECT digest, kind, bytes FROM layers WHERE ${unreferenced} ORDER BY bytes DESC LIMIT ?`,
        most,
      );
      const things = rows.map(
        ({ digest, kind, bytes }): Collectable => ({
          kind: layerKindNames[String(kind)] ?? String(kind),
          name: String(digest),
          bytes: Number(bytes),
        }),
      );
      return { things, holds: [layersHold], params: things as unknown as Json };
    },
    things: (params) => (params ?? []) as unknown as Collectable[],
    forget(tx, params) {
      for (const { name } of params as unknown as Collectable[])
        tx.run(`DELETE FROM layers WHERE digest = ? AND ${unreferenced}`, name);
    },
    async remove(context, params) {
      const removed: Collectable[] = [];
      const all = params as unknown as Collectable[];
      for (const [index, thing] of all.entries()) {
        const row = await store.get('SELECT 1 AS found FROM layers WHERE digest = ?', thing.name);
        if (row !== undefined) continue;
        await removeFile(fileOf(thing.name, '.json'));
        await context.fault('half');
        await removeFile(fileOf(thing.name, '.erofs'));
        removed.push(thing);
        context.progress({ done: index + 1, total: all.length, unit: 'steps' });
      }
      return removed;
    },
  };
}
