import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { factsText, manifestText, pieceBytes } from '../../../daemon/backup/archive.ts';
import { planRestore } from '../../../daemon/backup/restore.ts';
import { formatTarHeader } from '../../../daemon/images/tar-blocks.ts';
import { hasFuse, mountHung } from '../../support/hung-mount.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

// Backups on disks that are slow, or do not answer: planning a restore reads them.

const needs = { root: true, tools: ['bwrap', 'prlimit', 'setpriv'] };
const rooted = when(test, needs);
const hung = when(test, { ...needs, tools: [...needs.tools, 'mount'], other: hasFuse });

/** A backup whose slots hold that many pieces of holes, and whose manifest ends so. */
function largeBackup(path: string, pieces: number, manifestEnd = ''): void {
  const nothing = { bases: 0, personas: 0, slots: [], live: [] };
  const told = { madeMs: 0, host: 'desk', state: '/x', version: '9', schema: 1 };
  const facts = Buffer.from(factsText({ ...told, ...nothing }));
  const sha256 = createHash('sha256').update(facts).digest('hex');
  const members = [{ name: 'backup.json', bytes: facts.length, sha256 }];
  for (let piece = 0; piece < pieces; piece += 1)
    members.push({
      name: `slots.stream/${String(piece).padStart(6, '0')}`,
      bytes: pieceBytes,
      sha256: '0'.repeat(64),
    });
  const manifest = Buffer.from(manifestText(members) + manifestEnd);
  const content: Record<string, Buffer> = { 'backup.json': facts, 'manifest.json': manifest };
  const last = { name: 'manifest.json', bytes: manifest.length };
  const file = openSync(path, 'wx');
  let at = 0;
  for (const { name, bytes } of [...members, last]) {
    writeSync(file, formatTarHeader({ name, type: '0', mode: 0o600, size: bytes }), 0, 512, at);
    if (content[name] !== undefined) writeSync(file, content[name], 0, bytes, at + 512);
    at += 512 + Math.ceil(bytes / 512) * 512;
  }
  ftruncateSync(file, at + 1024);
  closeSync(file);
}

/** The plan of a restore, with the turns of the event loop that others had meanwhile. */
async function planned(t: ExecutionContext, file: string, answerMs: number) {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'slots'));
  const paths = { state: folder, run: folder };
  const room = { paths, inUse: () => false, takenUp: () => undefined, now: () => 0, answerMs };
  let turns = 0;
  const turning = setInterval(() => {
    turns += 1;
  }, 1);
  try {
    const plan = await planRestore(room, { file }, 0);
    return { plan, turns };
  } catch (error) {
    return { error, turns };
  } finally {
    clearInterval(turning);
  }
}

rooted('a manifest that is longer than its members need is not read', async (t) => {
  const folder = temporaryFolder(t);
  largeBackup(join(folder, 'good'), 1, '\n');
  t.is((await planned(t, join(folder, 'good'), 60_000)).error, undefined);
  largeBackup(join(folder, 'long'), 1, ' '.repeat(1 << 20));
  const { error } = await planned(t, join(folder, 'long'), 60_000);
  t.like(error, { code: 'bad-archive' });
  t.regex(String(error), /manifest\.json is too long/);
});

rooted('a backup of tens of thousands of members is looked through beside all else', async (t) => {
  const file = join(temporaryFolder(t), 'large.backup');
  largeBackup(file, 20_000);
  const { plan, turns, error } = await planned(t, file, 60_000);
  t.is(error, undefined);
  t.regex(String(plan?.summary), /state of desk/);
  t.true(Number(plan?.needs?.bytes) > 20_000 * pieceBytes);
  t.true(turns > 10);
});

hung(
  'a backup on a file system that does not answer ends the call, and holds up nobody',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'dead'));
    const mount = mountHung(join(folder, 'dead'));
    t.teardown(() => mount.release());
    const { error, turns } = await planned(t, join(folder, 'dead/desk.backup'), 2_000);
    t.like(error, { code: 'timed-out', message: 'cannot finish reading the backup in time' });
    t.true(turns > 10);
  },
);
