import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { writeErofs } from '../../../daemon/images/erofs-writer.ts';
import type { encode } from '../../../daemon/images/stream.ts';
import { deletePersona, insertPersona } from '../../../daemon/personas/persona-rows.ts';
import { planCreate, planImport } from '../../../daemon/personas/personas.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { type BuiltOsp, builtOsp } from '../../support/osp-builder.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  importPersona,
  named,
  type PersonaMachine,
  personaMachine,
  storeFacts,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';
import { builtTar } from '../../support/tar-builder.ts';

const whenRoot = when(test, confinedNeeds);

type ItemOf = Parameters<typeof encode>[0] extends infer T
  ? T extends Iterable<infer I>
    ? I
    : never
  : never;

/** One entry without content. */
function item(path: string, more: Record<string, unknown>): ItemOf {
  const entry = {
    ...{ path, type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 1e9, mtimeNs: 0, xattrs: [] },
    ...more,
  };
  return { entry, content: [] } as unknown as ItemOf;
}

/** An erofs image of these entries, by our own writer, which does not ask what they mean. */
async function imageOf(folder: string, items: ItemOf[]): Promise<Buffer> {
  const path = join(folder, `image-${Math.random()}`);
  const fd = openSync(path, 'wx+');
  try {
    await writeErofs(items, fd);
  } finally {
    closeSync(fd);
  }
  return readFileSync(path);
}

interface Ground {
  machine: PersonaMachine;
  base: string;
  /** A difference image that is right. */
  diff: Buffer;
  /** A file that this machine wrote and signed. */
  own: Buffer;
}

async function ground(t: ExecutionContext): Promise<Ground> {
  const machine = await personaMachine(t);
  const tree = writeBaseTree(machine.folder);
  const base = await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, machine, { name: 'mine', base: 'one', tree: named(wanted) });
  const own = await exported(machine, 'mine');
  const diff = await imageOf(machine.folder, [item('', {})]);
  return { machine, base, diff, own };
}

/** A foreign file on the right base. */
function foreign({ base, diff }: Ground, osp: BuiltOsp = {}): Buffer {
  const metadata = (value: Record<string, unknown>) => {
    const known = { ...value, base_digest: base };
    return osp.metadata?.(known) ?? known;
  };
  return builtOsp({ diff, ...osp, metadata });
}

/** Imports bytes that must be refused with this code, and leave nothing. */
async function refused(
  t: ExecutionContext,
  { machine }: Ground,
  what: string,
  bytes: Buffer,
  code: string | RegExp,
  uid = 0,
): Promise<string> {
  const before = await storeFacts(machine);
  const plan = planImport(machine.room, { source: uploaded(machine, bytes) }, uid);
  const result = await machine.run(plan);
  t.is(result.status, 'failed', what);
  t.regex(result.error?.code ?? '', new RegExp(code), `${what}: ${result.error?.message}`);
  t.deepEqual(await storeFacts(machine), before, `${what}: nothing half made`);
  return `${result.error?.message} ${result.error?.hint}`;
}

const runtimeWith = (environment: Record<string, string>) => JSON.stringify({ environment });

whenRoot('a foreign file made by hand is accepted and rebuilt', async (t) => {
  const place = await ground(t);
  const answer = await importPersona(t, place.machine, foreign(place), { uid: 1000 });
  t.true(answer.rebuilt);
  t.is(answer.persona.signature.origin, 'rebuilt');
  t.is(place.machine.room.book.persona('work').domain, 'stranger:1000');
});

whenRoot('damaged and incomplete persona files are refused', async (t) => {
  const place = await ground(t);
  const good = foreign(place);
  const without = (name: string) =>
    foreign(place, { members: (list) => list.filter((member) => member.name !== name) });
  const wrongDigest = (name: string) =>
    foreign(place, {
      metadata: (value) => {
        const members = value.members as Record<string, { sha256: string }>;
        return {
          ...value,
          members: { ...members, [name]: { ...members[name], sha256: '00'.repeat(32) } },
        };
      },
    });
  const cases: [string, Buffer, string][] = [
    ['nothing', Buffer.alloc(0), 'bad-persona|bad-archive'],
    ['noise', Buffer.alloc(9000, 'noise'), 'bad-persona|bad-archive'],
    ['cut in the image', good.subarray(0, 3000), 'bad-persona|bad-archive|digest-mismatch'],
    ['cut in the last member', good.subarray(0, good.length - 3000), 'bad-persona|bad-archive'],
    ['gzip around it', gzipSync(good), 'bad-persona'],
    ['without its metadata', without('metadata.json'), 'bad-persona'],
    ['without its image', without('diff_image.img'), 'bad-persona'],
    ['without its applications', without('application_list.txt'), 'bad-persona'],
    ['without its seed', without('data_seed.tar.gz'), 'bad-persona'],
    ['without its configuration', without('runtime_config.json'), 'bad-persona'],
    ['wrong digest of the image', wrongDigest('diff_image.img'), 'digest-mismatch'],
    ['wrong digest of the seed', wrongDigest('data_seed.tar.gz'), 'digest-mismatch'],
    [
      'newer format',
      foreign(place, { metadata: (value) => ({ ...value, format_version: 2 }) }),
      'format-too-new',
    ],
    [
      'a name with a slash',
      foreign(place, { metadata: (value) => ({ ...value, name: '../x' }) }),
      'bad-persona',
    ],
    ['applications', foreign(place, { applications: 'vim 9.0\n' }), 'not-supported'],
    ['services', foreign(place, { runtime: '{"services":{"sshd":"on"}}' }), 'not-supported'],
    [
      'resources',
      foreign(place, { metadata: (value) => ({ ...value, required_resources: { cpus: 2 } }) }),
      'not-supported',
    ],
    [
      'a variable that loads code',
      foreign(place, { runtime: '{"environment":{"LD_PRELOAD":"/x"}}' }),
      'bad-persona',
    ],
    [
      'a configuration file outside',
      foreign(place, { runtime: '{"files":[{"path":"/../x","content":""}]}' }),
      'bad-persona',
    ],
  ];
  for (const [what, bytes, code] of cases) await refused(t, place, what, bytes, code);
  const other = builtOsp({ diff: place.diff });
  const said = await refused(t, place, 'another base', other, 'wrong-base');
  t.true(said.includes('sha256:abab'), 'the error names the base that is needed');
});

whenRoot('one changed byte of a file of ours is found, wherever it is', async (t) => {
  const place = await ground(t);
  const diff = place.machine.room.book.persona('mine').layers.find(({ kind }) => kind === 'diff');
  for (const at of [700, (diff?.offset ?? 0) + 1100, place.own.length - 2000]) {
    const bytes = Buffer.from(place.own);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    if (bytes.equals(place.own)) continue;
    await refused(t, place, `byte ${at}`, bytes, 'bad|digest-mismatch|format');
  }
});

whenRoot('hostile seeds are refused', async (t) => {
  const place = await ground(t);
  const seed = (...members: Parameters<typeof builtTar>) =>
    foreign(place, { seed: gzipSync(builtTar(...members)) });
  const cases: [string, Buffer, string][] = [
    ['a path that climbs', seed({ name: '../../etc/passwd', data: 'x' }), 'bad'],
    ['an absolute path with ..', seed({ name: '/a/../../b', data: 'x' }), 'bad'],
    [
      'a file through a link',
      seed({ name: 'out', type: '2', linkName: '/etc' }, { name: 'out/cron.d', data: 'x' }),
      'bad',
    ],
    ['a hard link to nothing', seed({ name: 'a', type: '1', linkName: '../../etc/shadow' }), 'bad'],
    ['a device', seed({ name: 'sda', type: '4', major: 8, minor: 0 }), 'bad'],
    ['a set-user-id program', seed({ name: 'su', mode: 0o4755, data: 'x' }), 'bad-persona'],
    ['a file in place of a folder of the tree', seed({ name: 'etc', data: 'x' }), 'bad-persona'],
    ['no gzip at all', foreign(place, { seed: Buffer.alloc(4096, 'x') }), 'bad'],
    [
      'a cut gzip',
      foreign(place, {
        seed: gzipSync(builtTar({ name: 'a', data: 'x'.repeat(5000) })).subarray(0, 40),
      }),
      'bad',
    ],
    [
      'a size below zero',
      foreign(place, {
        seed: gzipSync(
          builtTar({
            name: 'a',
            data: 'x',
            raw: { 124: Buffer.from('ffffffffffffffffffffffff', 'hex') },
          }),
        ),
      }),
      'bad',
    ],
  ];
  for (const [what, bytes, code] of cases) await refused(t, place, what, bytes, code);
});

whenRoot('a seed that unpacks without end is stopped', async (t) => {
  const place = await ground(t);
  // 2 GiB of zeros in 2 MB, over and over: gzip's best ratio.
  const bomb = Buffer.concat(Array<Buffer>(8).fill(gzipSync(Buffer.alloc(256 * 1024 * 1024))));
  await refused(
    t,
    place,
    'a bomb',
    foreign(place, { seed: bomb }),
    'limit-exceeded|bad-archive|no-space',
  );
});

whenRoot('difference images that steer overlayfs or bring rights are refused', async (t) => {
  const place = await ground(t);
  const { folder } = place.machine;
  const image = async (...items: ItemOf[]) =>
    foreign(place, { diff: await imageOf(folder, [item('', {}), ...items]) });
  const redirect = await image(item('etc', { xattrs: [['trusted.overlay.redirect', '/root']] }));
  await refused(t, place, 'a redirect', redirect, 'bad-image');
  const metacopy = await image(
    item('file', { type: 'file', size: 0, xattrs: [['trusted.overlay.metacopy', '']] }),
  );
  await refused(t, place, 'a metacopy', metacopy, 'bad-image');
  await refused(
    t,
    place,
    'an image of noise',
    foreign(place, { diff: Buffer.alloc(8192, 7) }),
    'bad-image',
  );
  const suid = await image(item('su', { type: 'file', mode: 0o4755, size: 0 }));
  const said = await refused(t, place, 'set-user-id', suid, 'permission-denied', 1000);
  t.regex(said, /\/su/);
  await refused(t, place, 'set-user-id, by root without the word', suid, 'permission-denied');
  const device = await image(item('sda', { type: 'block', rdev: [8, 0] }));
  await refused(t, place, 'a device', device, 'permission-denied', 1000);
  const answer = await importPersona(t, place.machine, suid, { allowPrivileged: true });
  t.deepEqual(answer.persona.privileged, ['set-user-id program /su']);
});

whenRoot(
  'variables have a limit, and a persona at it, or over it from before, holds nothing',
  async (t) => {
    const place = await ground(t);
    const { engine, folder, room, store, run } = place.machine;
    const large = { A: 'x'.repeat(20_000), B: 'y'.repeat(12_767) };
    const said = /variables .* have 32769 bytes together, over 32768/;
    const over = foreign(place, { runtime: runtimeWith(large) });
    t.regex(await refused(t, place, 'an import', over, 'bad-persona'), said);
    const made = { name: 'new', base: 'one', diff: uploaded(place.machine, place.diff) };
    const { error } = await run(planCreate(room, { ...made, environment: large }, 0));
    t.regex(error?.message ?? '', said);
    const programs = Array.from({ length: 200 }, (_, at) =>
      item(`${'x'.repeat(247)}${`${at}`.padStart(3, '0')}`, {
        type: 'file',
        mode: 0o4755,
        size: 0,
      }),
    );
    const file = foreign(place, {
      diff: await imageOf(folder, [item('', {}), ...programs]),
      runtime: runtimeWith({ A: 'x'.repeat(20_000), B: 'y'.repeat(12_766) }),
    });
    const { persona } = await importPersona(t, place.machine, file, { allowPrivileged: true });
    t.is(persona.privileged?.length, 200);
    // One from before variables had a limit together.
    const environment = Object.fromEntries(
      Array.from({ length: 8 }, (_, at) => [`V${at}`, 'x'.repeat(32_000)]),
    );
    const before = room.book.persona(persona.name);
    await store.commit((tx) => {
      deletePersona(tx, persona.name);
      insertPersona(tx, { ...before, environment }, 1);
    });
    await room.book.load();
    const again = await importPersona(t, place.machine, file, { allowPrivileged: true });
    t.true(again.existed);
    t.deepEqual(again.persona.environment, environment);
    t.deepEqual(engine.open(), []);
  },
);

whenRoot("only root's word allows privileged files", async (t) => {
  const place = await ground(t);
  const diff = await imageOf(place.machine.folder, [
    item('', {}),
    item('su', { type: 'file', mode: 0o4755, size: 0 }),
  ]);
  const source = uploaded(place.machine, foreign(place, { diff }));
  const plan = planImport(place.machine.room, { source, allowPrivileged: true }, 1000);
  const result = await place.machine.run(plan);
  t.is(result.error?.code, 'permission-denied');
});

whenRoot('a corrupt image given as a difference never becomes a layer', async (t) => {
  const place = await ground(t);
  const { machine } = place;
  const before = await storeFacts(machine);
  const digests = new Set<string>();
  for (let at = 1024; at < 1200; at += 11) {
    const bytes = Buffer.from(place.diff);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    digests.add(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
    const plan = planCreate(
      machine.room,
      { name: 'odd', base: 'one', diff: uploaded(machine, bytes) },
      0,
    );
    const result = await machine.run(plan);
    if (result.status === 'failed') {
      t.deepEqual(await storeFacts(machine), before);
      continue;
    }
    // What still could be read was written anew: never these bytes.
    const [layer] = machine.room.book.persona('odd').layers;
    t.false(digests.has(layer?.digest ?? ''));
    t.is(machine.room.book.persona('odd').metadata.origin, 'rebuilt');
    const { planRemove } = await import('../../../daemon/personas/personas.ts');
    t.is((await machine.run(planRemove(machine.room, 'odd', 0))).status, 'done');
  }
});

whenRoot('what create does not realise is refused before anything is read', async (t) => {
  const place = await ground(t);
  const { machine } = place;
  const diff = () => uploaded(machine, place.diff);
  const make = async (more: Record<string, unknown>) =>
    (
      await machine.run(
        planCreate(machine.room, { name: 'new', base: 'one', diff: diff(), ...more }, 0),
      )
    ).error?.code;
  t.is(await make({ applications: uploaded(machine, Buffer.from('vim 9.0\n')) }), 'not-supported');
  t.is(
    await make({ config: uploaded(machine, Buffer.from('{"sysctl":{"a":1}}')) }),
    'not-supported',
  );
  t.is(await make({ environment: { NODE_OPTIONS: '-r x' } }), 'bad-persona');
  await t.throwsAsync(planCreate(machine.room, { name: 'mine', base: 'one', diff: diff() }, 0), {
    code: 'already-exists',
  });
  await t.throwsAsync(planCreate(machine.room, { name: 'new', base: 'none', diff: diff() }, 0), {
    code: 'base-not-found',
  });
});
