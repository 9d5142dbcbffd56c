import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { digestToFileName, isDigest } from '../../ipc/values.ts';
import { statePlaces } from '../config/paths.ts';
import { exists, syncFileSystem } from '../kernel/files.ts';
import { sealFile } from '../kernel/verity.ts';
import { checkIntegrity, openDriver } from '../store/database.ts';
import { checkOwner, migrate } from '../store/migrate.ts';
import { fill } from '../store/sql.ts';
import type { Driver, Row } from '../store/store.ts';
import { badBackup } from './archive.ts';
import { restorePlaces } from './restored.ts';

/**
 * Checks that an unpacked backup can take the place of the state: its database is whole and brought to the schema of
 * this version, and everything its rows name is there. Writable layers that were empty are made; generations find their
 * layers here and not in the state tree `from`, of which it was made. Durable when this returns. Throws bad-archive, format-too-new, state-damaged.
 */
export async function checkUnpacked(state: string, from: string): Promise<void> {
  const places = restorePlaces(state);
  const driver = await openDriver(join(places.fresh, statePlaces.database));
  try {
    await checkIntegrity(driver);
    if ((await checkOwner(driver)) === 0) throw badBackup('its database is empty');
    await migrate(driver);
    await checkImages(driver, places.fresh);
    await sealImages(driver, places.fresh);
    await completeSlots(driver, places.slots);
    // A backup holds what they wrote as all others: they come back in the state tree.
    await driver.exec("UPDATE slots SET detail = json_remove(detail, '$.volume')");
    if (from !== state) await relocate(driver, from, state);
    // These files are others than those that were looked at.
    await driver.exec("DELETE FROM witnesses; DELETE FROM facts WHERE name = 'scrub-asked'");
  } finally {
    await driver.close();
  }
  await syncFileSystem(places.slots);
  await syncFileSystem(places.fresh);
}

function nameOf(digest: unknown): string {
  const text = String(digest);
  if (!isDigest(text)) throw badBackup(`its database names a file by ${JSON.stringify(text)}`);
  return digestToFileName(text);
}

/** The name of each layer is the digest that its bytes were found to have; personas are told by their length here. */
async function checkImages(driver: Driver, fresh: string): Promise<void> {
  const { layers, personas } = statePlaces;
  const expected: [path: string, bytes: number][] = [
    ...(await driver.all('SELECT digest, bytes FROM layers', [])).map(
      ({ digest, bytes }): [string, number] => [
        join(layers, `${nameOf(digest)}.erofs`),
        Number(bytes),
      ],
    ),
    ...(await driver.all('SELECT DISTINCT digest, bytes FROM personas', [])).map(
      ({ digest, bytes }): [string, number] => [
        join(personas, `${nameOf(digest)}.osp`),
        Number(bytes),
      ],
    ),
  ];
  for (const [path, bytes] of expected) {
    const found = lstatSync(join(fresh, path), { throwIfNoEntry: false })?.size;
    if (found !== bytes)
      throw badBackup(`its rows name ${path} of ${bytes} bytes: ${found ?? 'none'} in it`);
  }
}

/** Seals every image where this machine can, and writes down what the kernel measures; elsewhere no row speaks of a seal. */
async function sealImages(driver: Driver, fresh: string): Promise<void> {
  const places = { layers: [statePlaces.layers, 'erofs'], personas: [statePlaces.personas, 'osp'] };
  for (const [table, [folder = '', end]] of Object.entries(places)) {
    const sets: string[] = [`UPDATE ${table} SET detail = json_remove(detail, '$.verity')`];
    for (const { digest } of await driver.all(`SELECT DISTINCT digest FROM ${table}`, [])) {
      const seal = await sealFile(join(fresh, folder, `${nameOf(digest)}.${end}`));
      if (seal === undefined) continue;
      const sql = `UPDATE ${table} SET detail = json_set(detail, '$.verity', ?) WHERE digest = ?`;
      sets.push(fill(sql, [seal, digest ?? '']));
    }
    await driver.exec(`BEGIN IMMEDIATE; ${sets.join('; ')}; COMMIT;`);
  }
}

/** Folders of slots, and of uppers: one that ended empty while the backup was written was removed meanwhile. */
async function completeSlots(driver: Driver, slots: string): Promise<void> {
  for (const { name } of await driver.all('SELECT name FROM slots', []))
    for (const part of ['', 'uppers', 'generations'])
      mkdirSync(join(slots, String(name), part), { recursive: true, mode: 0o700 });
  const uppers = await driver.all("SELECT * FROM uppers WHERE state <> 'gone'", []);
  for (const upper of uppers) await completeUpper(slots, upper);
}

async function completeUpper(slots: string, { slot, id, detail }: Row): Promise<void> {
  const folder = join(slots, String(slot), 'uppers', String(id));
  const content = join(folder, 'fs');
  mkdirSync(join(folder, 'work'), { recursive: true, mode: 0o700 });
  if (await exists(content)) return;
  const { root } = JSON.parse(String(detail)) as { root?: Record<'mode' | 'uid' | 'gid', number> };
  mkdirSync(content, { mode: 0o700 });
  chownSync(content, root?.uid ?? 0, root?.gid ?? 0);
  chmodSync(content, (root?.mode ?? 0o755) & 0o7777);
}

async function relocate(driver: Driver, from: string, to: string): Promise<void> {
  const file = (state: string) => `"file":${JSON.stringify(`${state}/`).slice(0, -1)}`;
  await driver.exec(
    fill('UPDATE generations SET detail = replace(detail, ?, ?)', [file(from), file(to)]),
  );
}
