import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { factsText } from '../../../daemon/backup/archive.ts';
import { ArchiveWriter } from '../../../daemon/backup/archive-writer.ts';
import { type Entry, isWhiteout } from '../../../daemon/images/entry.ts';
import { migrations } from '../../../daemon/store/migrate.ts';
import { done, type LiveDaemon, privateTree, startLive } from '../../security/live-daemon.ts';
import { populated } from '../../security/place.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { differences, treeFacts } from '../../support/tree-facts.ts';

// Backups of a real daemon by the real tool, and what a restore makes of them.

const needs = {
  root: true,
  tools: ['setpriv', 'bwrap', 'prlimit', 'setfattr', 'setfacl', 'setcap'],
};
const tool = new URL('../../../ctl/main.ts', import.meta.url).pathname;

/** The tool as a user of that machine calls it. */
function personactl(root: string, ...words: string[]) {
  const env = { PATH: process.env.PATH, PERSONA_ROOT: root };
  const args = ['--no-warnings', tool, ...words];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
  return { status, out: stdout, err: stderr };
}

/** Every name of every upper that something was written to, with all its metadata and content. */
async function uppers(state: string): Promise<Record<string, unknown>> {
  const facts = await treeFacts(treeOfFolder(join(state, 'slots')));
  const written = new Set(
    Object.keys(facts).flatMap(
      (path) => /^\w+\/uppers\/[0-9a-f]{16}\/fs(?=\/)/.exec(path)?.[0] ?? [],
    ),
  );
  const kept = Object.entries(facts).filter(([path]) =>
    [...written].some((upper) => path === upper || path.startsWith(`${upper}/`)),
  );
  // Deletion marks share one inode, also with those that lie ready beside the upper.
  for (const fact of kept.map(([, one]) => one as Entry))
    if (isWhiteout(fact)) Object.assign(fact, { mtime: 0, mtimeNs: 0 });
  return Object.fromEntries(kept);
}

/** Without what becomes of an upper in its own time: it is sealed, and its bytes are counted. */
function settled(generations: readonly { upper: { id: string } }[]) {
  return generations.map(({ upper: { id }, ...rest }) => ({ ...rest, upper: id }));
}

/** A backup of another version of the program. */
async function backupOf(facts: object): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  const out = { write: async (bytes: Uint8Array) => void parts.push(bytes) };
  const writer = new ArchiveWriter(out, 0, new AbortController().signal);
  const all = {
    madeMs: 0,
    host: 'x',
    state: '/x',
    version: '9',
    schema: 3,
    bases: 0,
    personas: 0,
    slots: [],
    live: [],
  };
  await writer.whole('backup.json', Buffer.from(factsText({ ...all, ...facts })));
  await writer.whole('slots.stream/000000', Buffer.from('x'));
  await writer.end();
  return Buffer.concat(parts);
}

/** A slot with two sealed uppers full of odd files, and an active one. */
async function written(t: ExecutionContext): Promise<{ daemon: LiveDaemon; root: string }> {
  const { daemon, root } = await populated(t);
  const client = await daemon.client();
  const shown = join(daemon.run, 'slots/work/root');
  mkdirSync(join(shown, 'odd'));
  fillOddTree(join(shown, 'odd'), { devices: false });
  writeFileSync(join(shown, 'etc/mine'), 'of a');
  rmSync(join(shown, 'etc/name'), { force: true });
  await done(client, 'slot.swap', { slot: 'work', persona: 'b' });
  writeFileSync(join(shown, 'etc/mine'), 'of b');
  await done(client, 'slot.swap', { slot: 'work', persona: 'a', fresh: true });
  writeFileSync(join(shown, 'etc/mine'), 'of a again');
  run('touch', '-d', '2001-02-03 04:05:06.789', join(shown, 'etc/mine'));
  return { daemon, root };
}

when(test, needs)('a backup comes back whole, on another machine', async (t) => {
  const { daemon, root } = await written(t);
  const client = await daemon.client();
  const file = join(root, 'desk.backup');
  const made = personactl(root, 'backup', file);
  t.is(made.status, 0, made.err);
  t.regex(made.out, /1 base, 2 personas, 1 slot\./);
  t.regex(made.out, /In use meanwhile.*: work/);
  t.is(statSync(file).mode & 0o777, 0o600);
  t.is(personactl(root, 'backup', file).status, 6, 'it is there already');
  t.deepEqual(readdirSync(join(daemon.state, 'staging')), []);
  const history = await client.call('slot.history', { slot: 'work' });
  const personas = await client.call('persona.list', {});
  const keys = await client.call('key.list', {});
  await daemon.end('SIGTERM');
  const wanted = await uppers(daemon.state);
  await unmountBelow(root);
  t.true(Object.keys(wanted).length > 700);

  // Nothing of the old machine is left to lean on.
  for (const place of ['layers', 'personas', 'slots'])
    rmSync(join(daemon.state, place), { recursive: true });
  const elsewhere = privateTree(t);
  const other = await startLive(t, elsewhere);
  const plan = personactl(elsewhere, 'restore', file, '--dry-run');
  t.regex(plan.out, /restore the state of .* of 20/);
  t.false(existsSync(join(other.state, 'restore')));
  const back = personactl(elsewhere, 'restore', file);
  t.is(back.status, 0, back.err);
  t.regex(back.out, /The daemon is ready/);
  const again = await other.client();
  const shown = join(other.run, 'slots/work/root');
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of a again');
  const { generations } = await again.call('slot.history', { slot: 'work' });
  t.deepEqual(settled(generations), settled(history.generations));
  t.deepEqual((await again.call('persona.list', {})).personas, personas.personas);
  t.deepEqual((await again.call('key.list', {})).keys, keys.keys);
  t.false(existsSync(join(other.state, 'restore')));
  t.false(existsSync(join(other.state, 'slots/.restore')));
  await done(again, 'slot.rollback', { slot: 'work', to: 1 });
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of a');
  t.true(existsSync(join(shown, 'odd/e/sparse')));
  for (const persona of ['a', 'b'])
    t.true(((await done(again, 'persona.verify', { persona })) as unknown as { ok: boolean }).ok);
  await other.end('SIGTERM');
  const found = await uppers(other.state);
  for (const path of Object.keys(found)) if (!(path in wanted)) delete found[path]; // of the rollback
  t.deepEqual(differences(found, wanted), {});
});

when(test, needs)('a state in use is replaced only when that is said, and kept', async (t) => {
  const { daemon, root } = await written(t);
  const client = await daemon.client();
  const file = join(root, 'desk.backup');
  t.is(personactl(root, 'backup', file).status, 0);
  const shown = join(daemon.run, 'slots/work/root');
  writeFileSync(join(shown, 'etc/mine'), 'written since');
  const unsaid = personactl(root, 'restore', file);
  t.is(unsaid.status, 6);
  t.regex(unsaid.err, /--replace/);
  const busy = personactl(root, 'restore', file, '--replace');
  t.is(busy.status, 6);
  t.regex(busy.err, /--end-slots/);
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'written since');
  const holder = readFileSync(join(shown, 'etc/mine'));
  const back = personactl(root, 'restore', file, '--replace', '--end-slots', '--json');
  t.is(back.status, 0, back.err);
  t.is(holder.toString(), 'written since');
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of a again');
  const second = await daemon.client();
  const { notices } = await second.call('daemon.status', {});
  const kept = notices.find(({ text }) => text.includes('before a restore'));
  const folder = kept?.command?.replace('rm -r ', '') ?? '';
  t.true(existsSync(join(folder, 'personad.db')));
  const old = readdirSync(join(folder, 'slots/work/uppers'));
  const mine = old
    .map((id) => join(folder, 'slots/work/uppers', id, 'fs/etc/mine'))
    .filter(existsSync);
  t.true(mine.some((path) => readFileSync(path, 'utf8') === 'written since'));
  await done(second, 'slot.swap', { slot: 'work', persona: 'b' });
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of b');
  client.close();
});

when(test, needs)(
  'a damaged, cut, newer or foreign backup is refused and nothing is touched',
  async (t) => {
    const { daemon, root } = await written(t);
    const file = join(root, 'desk.backup');
    t.is(personactl(root, 'backup', file).status, 0);
    const whole = readFileSync(file);
    const bad = join(root, 'bad.backup');
    const names = () =>
      ['', 'layers', 'personas', 'keys'].map((place) => readdirSync(join(daemon.state, place)));
    const before = names();
    const refuse = (bytes: Buffer, reason: RegExp, what: string) => {
      writeFileSync(bad, bytes);
      const said = personactl(root, 'restore', bad, '--replace', '--end-slots');
      t.not(said.status, 0, what);
      t.regex(said.err, reason, what);
      t.false(existsSync(join(daemon.state, 'restore')), what);
      t.false(existsSync(join(daemon.state, 'slots/.restore')), what);
    };
    refuse(whole.subarray(0, whole.length >> 1), /cut off|not complete/, 'cut');
    refuse(whole.subarray(0, whole.length - 2048), /cut off|not complete|manifest/, 'end cut');
    const image = whole.indexOf('.erofs') + 2048;
    const flipped = Buffer.from(whole);
    flipped[image] = (flipped[image] ?? 0) ^ 1;
    refuse(flipped, /damaged: its digest/, 'one bit of an image');
    const stream = Buffer.from(whole);
    const piece = whole.indexOf('slots.stream/000000') + 5000;
    stream[piece] = (stream[piece] ?? 0) ^ 1;
    refuse(stream, /cannot read|damaged/, 'one bit of a slot');
    const newer = Buffer.from(
      whole.toString('latin1').replace('"version": 1,', '"version": 9,'),
      'latin1',
    );
    refuse(newer, /format version 9/, 'newer form');
    const schema = migrations.length + 1;
    const said = new RegExp(`format version ${schema}`);
    refuse(await backupOf({ schema }), said, 'newer schema');
    refuse(Buffer.alloc(10_240, 'x'), /cannot read/, 'no tar');
    refuse(Buffer.alloc(0), /cannot read/, 'empty');
    t.is(personactl(root, 'restore', join(root, 'none')).status, 4);
    t.is(personactl(root, 'restore', root).status, 2);
    t.deepEqual(names(), before);
    t.is(readFileSync(join(daemon.run, 'slots/work/root/etc/mine'), 'utf8'), 'of a again');
  },
);

when(test, needs)(
  'files with odd names are in a backup, or none of its, and it comes back',
  async (t) => {
    const { daemon, root } = await written(t);
    const dropIns = ['50-память.toml', `${'long-'.repeat(30)}.toml`, 'of two words.toml'];
    mkdirSync(join(root, 'etc/conf.d'));
    for (const name of dropIns) writeFileSync(join(root, 'etc/conf.d', name), '', { mode: 0o644 });
    const keys = readdirSync(join(daemon.state, 'keys'));
    for (const name of [
      'machine.ed25519~',
      'trusted/vendor key.pub',
      'trusted/.new-0123456789abcdef',
    ])
      writeFileSync(join(daemon.state, 'keys', name), 'of nobody', { mode: 0o600 });
    const file = join(root, 'desk.backup');
    const made = personactl(root, 'backup', file);
    t.is(made.status, 0, made.err);
    const listed = run('tar', '--quoting-style=literal', '-tf', file).split('\n');
    for (const name of dropIns) t.true(listed.includes(`settings/conf.d/${name}`), name);
    const back = personactl(root, 'restore', file, '--replace', '--end-slots');
    t.is(back.status, 0, back.err);
    t.deepEqual(readdirSync(join(daemon.state, 'keys')), keys);
    t.is(readFileSync(join(daemon.run, 'slots/work/root/etc/mine'), 'utf8'), 'of a again');
  },
);

when(test, needs)('a lost database is the way out of a degraded start', async (t) => {
  const { daemon, root } = await written(t);
  const file = join(root, 'desk.backup');
  t.is(personactl(root, 'backup', file).status, 0);
  await daemon.end('SIGKILL');
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(daemon.state, `personad.db${end}`), { force: true });
  const second = await startLive(t, root);
  const client = await second.client();
  t.is((await client.call('daemon.status', {})).daemon.state, 'degraded');
  const { checks } = await client.call('daemon.doctor', {});
  t.regex(String(checks[0]?.fix), /personactl restore FILE --replace/);
  const back = personactl(root, 'restore', file, '--replace', '--end-slots');
  t.is(back.status, 0, back.err);
  t.is(readFileSync(join(second.run, 'slots/work/root/etc/mine'), 'utf8'), 'of a again');
  const healed = await second.client();
  t.is((await healed.call('daemon.status', {})).daemon.state, 'ready');
  await done(healed, 'slot.swap', { slot: 'work', persona: 'b' });
});

when(test, needs)(
  'a backup goes on while slots are swapped, and stops with its reader',
  async (t) => {
    const { daemon, root } = await written(t);
    const client = await daemon.client();
    const { ticket } = await client.call('bulk.open', { direction: 'down' });
    const change = client.call('system.backup', { ticket, wait: true });
    change.catch(() => undefined);
    // Nobody fetches yet: the change waits for its reader while the daemon goes on.
    await done(client, 'slot.swap', { slot: 'work', persona: 'b' });
    const second = await daemon.client();
    const removal = second.call('system.gc', {});
    const { changeId } = await removal;
    const { changes } = await second.call('change.list', {});
    t.is(changes.find(({ id }) => id === changeId)?.status, 'queued', 'removals wait');
    const backup = changes.find(({ kind }) => kind === 'system.backup');
    await second.call('change.abort', { change: backup?.id ?? 0 });
    await t.throwsAsync(change, { code: 'change-aborted' });
    t.deepEqual(readdirSync(join(daemon.state, 'staging')), []);
    const file = join(root, 'after.backup');
    t.is(personactl(root, 'backup', file).status, 0);
    t.deepEqual(
      readdirSync(root).filter((name) => name.endsWith('.part')),
      [],
    );
  },
);

/** A private tree on a file system that cannot hold what slots write: that goes to a volume. */
function volumeTree(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-backup-'));
  t.teardown(async () => {
    await unmountBelow(folder);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });
  const [lower, upper, work, root] = ['lower', 'upper', 'work', 'root'].map((name) => {
    mkdirSync(join(folder, name));
    return join(folder, name);
  });
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  run('mount', '-t', 'overlay', 'overlay', '-o', options, String(root));
  mkdirSync(join(String(root), 'etc'));
  const settings =
    '[space]\nreserve = "1MiB"\nkeep_free = "1MiB"\nkeep_free_percent = 0\nupper_volume = "96MiB"\n';
  writeFileSync(join(String(root), 'etc/persona.toml'), settings, { mode: 0o644 });
  return String(root);
}

when(test, { ...needs, tools: [...needs.tools, 'mkfs.ext4'] })(
  'what slots hold goes to a volume and back, with the old state beside it',
  async (t) => {
    const { daemon, root } = await written(t);
    const file = join(root, 'desk.backup');
    t.is(personactl(root, 'backup', file).status, 0);
    await daemon.end('SIGTERM');
    await unmountBelow(root);

    const elsewhere = volumeTree(t);
    const other = await startLive(t, elsewhere);
    const mine = join(other.run, 'slots/work/root/etc/mine');
    t.is(personactl(elsewhere, 'restore', file).status, 0);
    t.is(readFileSync(mine, 'utf8'), 'of a again');
    const client = await other.client();
    t.is((await client.call('daemon.status', {})).space.uppers, 'loop-volume');
    writeFileSync(mine, 'in the volume');
    const second = join(elsewhere, 'second.backup');
    t.is(personactl(elsewhere, 'backup', second).status, 0);
    const back = personactl(elsewhere, 'restore', second, '--replace', '--end-slots');
    t.is(back.status, 0, back.err);
    t.is(readFileSync(mine, 'utf8'), 'in the volume');
    t.is(
      readdirSync(join(other.state, 'slots')).filter((name) => name.startsWith('.replaced-'))
        .length,
      2,
      'of each restore, the one onto the empty state too',
    );
    const again = await other.client();
    const { notices } = await again.call('daemon.status', {});
    t.true(notices.some(({ command }) => command?.includes('/slots/.replaced-')));
    await other.end('SIGTERM');

    const third = privateTree(t);
    const plain = await startLive(t, third);
    t.is(personactl(third, 'restore', second).status, 0);
    t.is(readFileSync(join(plain.run, 'slots/work/root/etc/mine'), 'utf8'), 'in the volume');
    const last = await plain.client();
    t.is((await last.call('daemon.status', {})).space.uppers, 'direct');
  },
);

when(test, needs)('a full disk of the reader leaves nothing, and is told', async (t) => {
  const { daemon, root } = await written(t);
  const small = join(root, 'small');
  mkdirSync(small);
  run('mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', small);
  const said = personactl(root, 'backup', join(small, 'desk.backup'));
  t.is(said.status, 6);
  t.regex(said.err, /needed|free/);
  t.deepEqual(readdirSync(small), []);
  const client = await daemon.client();
  const { changes } = await client.call('change.list', { all: true });
  t.is(changes.find(({ kind }) => kind === 'system.backup')?.status, 'failed');
});

/** Makes, links, renames, grows, cuts and removes files as fast as it can. */
const restless = `cd "$1" || exit 1
while :; do
  for i in 1 2 3 4 5 6 7 8 9; do
    mkdir -p d$i; head -c $((i * 90000)) /dev/zero >d$i/f$i; ln -f d$i/f$i l$i; ln -sfn f$i s$i
    mv -f l$i d$i/g; truncate -s $((i * 7)) d$i/g; mkfifo p$i; rm -rf p$i d$((i % 5)) s$((10 - i))
  done
done`;

when(test, needs)(
  'a slot that is written to all the while gives a backup that comes back',
  async (t) => {
    const { daemon, root } = await written(t);
    const busy = join(daemon.run, 'slots/work/root/busy');
    mkdirSync(busy);
    const writer = spawn('bash', ['-c', restless, 'restless', busy], { stdio: 'ignore' });
    const ended = new Promise((resolve) => writer.on('exit', resolve));
    t.teardown(async () => {
      writer.kill('SIGKILL');
      await ended;
    });
    for (let round = 1; round <= 5; round += 1) {
      const file = join(root, `${round}.backup`);
      const made = personactl(root, 'backup', file);
      t.is(made.status, 0, made.err);
    }
    writer.kill('SIGKILL');
    await ended;
    for (const round of [1, 5]) {
      const file = join(root, `${round}.backup`);
      const back = personactl(root, 'restore', file, '--replace', '--end-slots');
      t.is(back.status, 0, back.err);
      t.is(readFileSync(join(daemon.run, 'slots/work/root/etc/mine'), 'utf8'), 'of a again');
    }
  },
);
