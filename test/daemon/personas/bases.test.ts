import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import type { Result } from '../../../daemon/changes/change.ts';
import { openErofs } from '../../../daemon/images/erofs-reader.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { readRecord } from '../../../daemon/kernel/records.ts';
import { planBaseImport } from '../../../daemon/personas/base-import.ts';
import { planBaseRemoval } from '../../../daemon/personas/base-rm.ts';
import type { BaseSource } from '../../../daemon/personas/base-source.ts';
import {
  type BasePage,
  importedBase,
  listBases,
  readBase,
} from '../../../daemon/personas/bases.ts';
import { hostOmissions } from '../../../daemon/personas/host-tree.ts';
import { layerFile } from '../../../daemon/personas/layer.ts';
import type { BaseTaskParts } from '../../../daemon/personas/tasks/base-tasks.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import {
  course,
  proveCrashes,
  proveFailures,
  proveKills,
  proveRepeat,
} from '../../changes/proofs.ts';
import {
  type BaseMachine,
  importing,
  openBaseMachine,
  removing,
  storeFiles,
} from '../../support/bases.ts';
import { hasFuse, mountHung } from '../../support/hung-mount.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { confinedNeeds, run, when } from '../../support/needs.ts';
import { builtLayout } from '../../support/oci-builder.ts';
import { builtTar } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';

const needs = confinedNeeds;
const module = new URL('../../support/bases.ts', import.meta.url).href;

async function machineIn(
  t: ExecutionContext,
  parts?: BaseTaskParts,
): Promise<BaseMachine & { folder: string }> {
  const folder = temporaryFolder(t);
  const machine = await openBaseMachine(folder, undefined, parts);
  t.teardown(() => machine.close());
  await machine.engine.recover();
  return { ...machine, folder };
}

/** A small root tree with what is easily lost. */
function makeTree(tree: string): void {
  mkdirSync(join(tree, 'etc'), { recursive: true });
  mkdirSync(join(tree, 'usr/bin'), { recursive: true });
  writeFileSync(join(tree, 'usr/bin/tool'), 'x'.repeat(10_000), { mode: 0o755 });
  run('ln', join(tree, 'usr/bin/tool'), join(tree, 'usr/bin/alias'));
  mkdirSync(join(tree, 'usr/lib'));
  writeFileSync(
    join(tree, 'usr/lib/os-release'),
    'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian \\"12\\""\n',
  );
  symlinkSync('../usr/lib/os-release', join(tree, 'etc/os-release'));
  symlinkSync('usr/bin', join(tree, 'bin'));
  run('chown', '1000:1001', join(tree, 'usr/bin/tool'));
  run(
    'touch',
    '-h',
    '-d',
    '2020-01-02 03:04:05 UTC',
    ...run('find', tree, '-depth').trim().split('\n'),
  );
}

const imported = async ({ room }: BaseMachine, { result }: Result): Promise<BasePage> =>
  (await importedBase(room, result, 0)).base;

async function importBase(
  { room, run: submit }: BaseMachine,
  name: string,
  source: BaseSource,
  uid = 0,
): Promise<Result> {
  return await submit(planBaseImport(room, { name, source }, uid));
}

const nothing = { layers: [], staging: [], quarantine: [] };

when(test, needs)('equal content gives one digest, from a folder, tars, and images', async (t) => {
  const machine = await machineIn(t);
  const { folder, state } = machine;
  const tree = join(folder, 'tree');
  makeTree(tree);
  const tar = join(folder, 'a.tar');
  run('tar', '--format=pax', '-C', tree, '-cf', tar, '.');
  writeFileSync(`${tar}.gz`, gzipSync(readFileSync(tar)));
  writeFileSync(`${tar}.zst`, zstdCompressSync(readFileSync(tar)));
  const sources = [tree, tar, `${tar}.gz`, `${tar}.zst`];
  const digests = new Set<string>();
  for (const [i, path] of sources.entries()) {
    const result = await importBase(machine, `base-${i}`, { kind: 'path', path });
    t.is(result.status, 'done', `${path}: ${JSON.stringify(result.error)}`);
    const base = await imported(machine, result);
    digests.add(base.digest);
    t.deepEqual(base.os, { id: 'debian', version: '12', title: 'Debian "12"' });
    t.is((result.result as { existed: boolean }).existed, i > 0);
  }
  t.is(digests.size, 1);
  const [digest] = digests;
  const name = `sha256-${digest?.slice(7)}`;
  t.deepEqual(storeFiles(state), { ...nothing, layers: [`${name}.erofs`, `${name}.json`] });
  t.is(statSync(join(state, 'layers', `${name}.erofs`)).mode & 0o777, 0o400);
  t.like(await readRecord(join(state, 'layers', `${name}.json`), 'layer'), {
    digest,
    kind: 'base',
  });
  const again = join(folder, 'again.erofs');
  copyFileSync(join(state, 'layers', `${name}.erofs`), again);
  const result = await importBase(machine, 'again', { kind: 'path', path: again });
  t.is((await imported(machine, result)).digest, digest!);
  t.is((await listBases(machine.room, 0)).length, 5);
});

when(test, { ...needs, tools: [...needs.tools, 'mkfs.ext4', 'mksquashfs'] })(
  'file systems of others: ext4, squashfs, a partition of a disk',
  async (t) => {
    const machine = await machineIn(t);
    const tree = join(machine.folder, 'tree');
    makeTree(tree);
    const result = await importBase(machine, 'tree', { kind: 'path', path: tree });
    const { digest: folderDigest } = await imported(machine, result);
    const squashfs = join(machine.folder, 'x.sqfs');
    run('mksquashfs', tree, squashfs, '-noappend', '-quiet');
    const ext4 = join(machine.folder, 'x.ext4');
    run('mkfs.ext4', '-q', '-d', tree, ext4, '16M');
    const disk = join(machine.folder, 'disk');
    writeFileSync(
      disk,
      Buffer.concat([mbr(2048, 32768), Buffer.alloc(2047 * 512), readFileSync(ext4)]),
    );
    for (const [name, path] of Object.entries({ squashfs, ext4, disk })) {
      const result = await importBase(machine, name, { kind: 'path', path });
      t.is(result.status, 'done', `${name}: ${JSON.stringify(result.error)}`);
      t.is((await imported(machine, result)).os?.id, 'debian');
    }
    const [of] = (await listBases(machine.room, 0)).filter(({ name }) => name === 'squashfs');
    t.truthy(folderDigest);
    t.truthy(of);
    const wrong = await importBase(machine, 'p3', { kind: 'path', path: disk, partition: 3 });
    t.is(wrong.error?.code, 'bad-image');
    const right = await importBase(machine, 'p1', { kind: 'path', path: disk, partition: 1 });
    t.is(right.status, 'done');
  },
);

when(test, needs)('an unpacked container image is the tree of its layers', async (t) => {
  const machine = await machineIn(t);
  const lower = builtTar(
    { name: 'etc/', type: '5', mode: 0o755 },
    { name: 'etc/os-release', data: 'ID=layered\n' },
    { name: 'gone', data: 'x' },
  );
  const upper = builtTar({ name: '.wh.gone' }, { name: 'new', data: 'y' });
  const layout = join(machine.folder, 'layout');
  for (const [path, bytes] of builtLayout({ layers: [lower, upper], packing: ['gzip', 'none'] })) {
    mkdirSync(join(layout, path, '..'), { recursive: true });
    writeFileSync(join(layout, path), bytes);
  }
  const result = await importBase(machine, 'oci', { kind: 'path', path: layout });
  t.is(result.status, 'done', JSON.stringify(result.error));
  t.like(await imported(machine, result), {
    os: { id: 'layered' },
    entries: 4,
    source: 'container image',
  });
});

when(test, needs)(
  'the running system is imported without what is secret, private or mounted',
  async (t) => {
    const root = scratchFolder(t);
    const machine = await openBaseMachine(join(root, 'var/lib/mine'));
    t.teardown(() => machine.close());
    await machine.engine.recover();
    const put = (path: string, text = `canary of ${path}`): void => {
      mkdirSync(join(root, path, '..'), { recursive: true });
      writeFileSync(join(root, path), text);
    };
    for (const path of [
      'etc/shadow',
      'etc/ssh/ssh_host_ed25519_key',
      'root/.ssh/id_ed25519',
      'home/me/letter',
      'tmp/file',
      'var/lib/persona/keys/machine.ed25519',
      'var/lib/personad-quickstart/state/keys/machine.ed25519',
      'var/lib/personad-quickstart/state/mark.json',
      'var/lib/personad-quickstart/quickstart/tree/file',
      'var/lib/another/personad.db',
      'data/q/state/keys/machine.ed25519',
      'data/q/tree/file',
      'data/r/personad.db',
      'data/r/slots/work/uppers/file',
    ])
      put(path);
    symlinkSync(join(root, 'data/q'), join(root, 'var/lib/linked'));
    mkdirSync(join(root, 'opt/half-linked'), { recursive: true });
    symlinkSync('../../data/r', join(root, 'opt/half-linked/state'));
    put('etc/passwd', 'root:x:0:0::/root:/bin/sh\n');
    put('var/lib/dpkg/status', 'kept');
    mkdirSync(join(root, 'mnt'));
    run('mount', '-t', 'tmpfs', 'personad-test', join(root, 'mnt'));
    put('mnt/file');
    mkdirSync(join(root, 'var/lib/remote'));
    mkdirSync(join(root, 'srv/other/etc'), { recursive: true });
    symlinkSync(join(root, 'var/lib/remote'), join(root, 'srv/other/etc/ssh'));
    if (hasFuse() === undefined) t.teardown(mountHung(join(root, 'var/lib/remote')).release);
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 1);
    const result = await importBase(machine, 'here', { kind: 'host', root });
    clearInterval(turning);
    t.is(result.status, 'done', JSON.stringify(result.error));
    t.true(turns > 0);
    const other = hostOmissions({ state: join(root, 'srv/state') }, join(root, 'srv/other'));
    t.false(other.exclude.some((path) => path.startsWith('etc/ssh/')));
    const { source, digest } = await imported(machine, result);
    t.is(source, 'host');
    const image = join(machine.state, layerFile(digest));
    const fd = openSync(image, 'r');
    t.teardown(() => closeSync(fd));
    const { entries } = await openErofs(fd, { limits: defaultLimits });
    const paths = entries.map(({ path }) => path);
    const kept = [
      ...['etc/passwd', 'etc/shadow', 'home', 'mnt', 'tmp', 'var/lib/dpkg/status'],
      ...['data/q', 'data/r', 'opt/half-linked/state', 'var/lib/linked', 'var/lib/remote'],
    ];
    t.deepEqual(
      kept.filter((path) => !paths.includes(path)),
      [],
    );
    t.deepEqual(
      paths.filter((path) => /^(home|mnt|tmp|root)\/|^var\/lib\/(?!dpkg).*\/|ssh_host/.test(path)),
      [],
    );
    t.deepEqual(
      paths.filter((path) => /^data\/.\//.test(path)),
      [],
    );
    const bytes = readFileSync(image);
    t.true(bytes.includes('root:x:0:0'));
    t.false(bytes.includes('canary'));
    t.true(hostOmissions({ state: join(root, 'srv/state') }, root).exclude.includes('srv/state'));
  },
);

/** The first sector of a disk with one Linux partition. */
function mbr(first: number, sectors: number): Buffer {
  const sector = Buffer.alloc(512);
  sector[446 + 4] = 0x83;
  sector.writeUInt32LE(first, 446 + 8);
  sector.writeUInt32LE(sectors, 446 + 12);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

when(test, needs)('bad input: a clear error, nothing half made', async (t) => {
  const machine = await machineIn(t);
  const { folder, state } = machine;
  const tree = join(folder, 'tree');
  makeTree(tree);
  const tar = join(folder, 'good.tar');
  run('tar', '-C', tree, '-cf', tar, '.');
  const file = (name: string, bytes: Uint8Array | string): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const cut = file('cut.tar', readFileSync(tar).subarray(0, 8_000));
  const zip = file('bomb.gz', gzipSync(Buffer.alloc(64 << 20)));
  const cutGz = file('cut.gz', gzipSync(readFileSync(tar)).subarray(0, 300));
  const erofs = file(
    'bad.erofs',
    Buffer.concat([Buffer.alloc(1024), Buffer.from('e2e1f5e0', 'hex'), Buffer.alloc(8192, 0xff)]),
  );
  run('mkfifo', join(folder, 'fifo'));
  run(
    'tar',
    '-C',
    folder,
    '--transform=s,.*,../../escaped,',
    '-Pcf',
    join(folder, 'up.tar'),
    'cut.tar',
  );
  const cases: [string, string[], number?][] = [
    [join(folder, 'none'), ['file-not-found']],
    [join(folder, 'fifo'), ['bad-value']],
    [
      file('x.osp', builtTar({ name: 'metadata.json', data: '{}' }, { name: 'diff_image.img' })),
      ['bad-image'],
    ],
    [file('empty', ''), ['bad-image', 'bad-archive']],
    [file('text', 'hello'.repeat(1000)), ['bad-image', 'bad-archive']],
    [cut, ['bad-archive', 'bad-image']],
    [cutGz, ['bad-archive', 'bad-image']],
    [zip, ['bad-archive', 'bad-image', 'limit-exceeded', 'not-supported']],
    [erofs, ['bad-image', 'bad-archive', 'not-supported']],
    [join(folder, 'up.tar'), ['bad-archive', 'bad-image']],
    // A partition of what has none.
    [tar, ['bad-image'], 2],
    [tree, ['bad-value'], 1],
  ];
  for (const [path, codes, partition] of cases) {
    const chosen = partition === undefined ? {} : { partition };
    const result = await importBase(machine, 'bad', { kind: 'path', path, ...chosen });
    t.is(result.status, 'failed', path);
    t.true(codes.includes(result.error?.code ?? ''), `${path}: ${JSON.stringify(result.error)}`);
    t.deepEqual(storeFiles(state), nothing, path);
  }
  t.false(existsSync(join(folder, '..', 'escaped')));
  const bad = await t.throwsAsync(
    planBaseImport(machine.room, { name: '../x', source: { kind: 'host' } }, 0),
  );
  t.is((bad as PersonaError).code, 'bad-name');
});

when(test, needs)(
  'a change of the tree while it is read, and an aborted import, leave nothing',
  async (t) => {
    const machine = await machineIn(t);
    const tree = join(machine.folder, 'tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'big'), '');
    truncateSync(join(tree, 'big'), 0);
    run('dd', 'if=/dev/zero', `of=${join(tree, 'big')}`, 'bs=1M', 'count=256', 'status=none');
    const plan = await planBaseImport(
      machine.room,
      { name: 'x', source: { kind: 'path', path: tree } },
      0,
    );
    const { changeId, done } = await machine.engine.submit(plan);
    const begun = Promise.withResolvers<void>();
    await machine.engine.follow(changeId, ({ progress }) => {
      if (progress !== undefined) begun.resolve();
    });
    await Promise.race([begun.promise, done]);
    await machine.engine.abort(changeId);
    t.is((await done).status, 'aborted');
    t.deepEqual(storeFiles(machine.state), nothing);
  },
);

/** Child processes of this one that confine another. */
function confiningChildren(): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return stat.includes('(bwrap)') && Number(parent) === process.pid ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

when(test, needs)('a reader or writer that is killed leaves nothing', async (t) => {
  const machine = await machineIn(t);
  const tar = join(machine.folder, 'big.tar');
  run(
    'dd',
    'if=/dev/zero',
    `of=${join(machine.folder, 'big')}`,
    'bs=1M',
    'count=200',
    'status=none',
  );
  run('tar', '-C', machine.folder, '-cf', tar, 'big');
  for (const which of [0, 1]) {
    const plan = await planBaseImport(
      machine.room,
      { name: 'x', source: { kind: 'path', path: tar } },
      0,
    );
    const { changeId, done } = await machine.engine.submit(plan);
    const begun = Promise.withResolvers<void>();
    await machine.engine.follow(changeId, ({ progress }) => {
      if (progress !== undefined) begun.resolve();
    });
    await Promise.race([begun.promise, done]);
    const pid = confiningChildren().sort()[which];
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    const result = await done;
    t.is(result.status, 'failed', String(which));
    t.is(result.error?.code, 'tool-failed', JSON.stringify(result.error));
    t.deepEqual(storeFiles(machine.state), nothing);
  }
});

when(test, needs)('a disk that fills up while the image grows', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'state'));
  run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'personad-test', join(folder, 'state'));
  t.teardown(() => run('umount', join(folder, 'state')));
  const machine = await openBaseMachine(folder);
  t.teardown(() => machine.close());
  await machine.engine.recover();
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  run('dd', 'if=/dev/urandom', `of=${join(tree, 'big')}`, 'bs=1M', 'count=16', 'status=none');
  const result = await importBase(machine, 'x', { kind: 'path', path: tree });
  t.is(result.error?.code, 'no-space', JSON.stringify(result.error));
  t.deepEqual(storeFiles(machine.state), nothing);
  run('rm', join(tree, 'big'));
  writeFileSync(join(tree, 'small'), 'x');
  t.is((await importBase(machine, 'x', { kind: 'path', path: tree })).status, 'done');
});

when(test, needs)('the reserve is kept while an image grows', async (t) => {
  const machine = await machineIn(t, {
    space: async () => {
      throw new PersonaError('no-space', { needed: 1, free: 0, path: 'x' });
    },
  });
  const tree = join(machine.folder, 'tree');
  mkdirSync(tree);
  run('dd', 'if=/dev/zero', `of=${join(tree, 'big')}`, 'bs=1M', 'count=200', 'status=none');
  const result = await importBase(machine, 'x', { kind: 'path', path: tree });
  t.is(result.error?.code, 'no-space', JSON.stringify(result.error));
  t.deepEqual(storeFiles(machine.state), nothing);
});

when(test, needs)('who is not root brings no privileged files', async (t) => {
  const machine = await machineIn(t);
  const { folder } = machine;
  const tree = join(folder, 'tree');
  makeTree(tree);
  writeFileSync(join(tree, 'su'), 'x');
  chmodSync(join(tree, 'su'), 0o4755);
  const upload = join(folder, 'upload');
  run('tar', '-C', tree, '-cf', upload, '.');
  const refused = await importBase(machine, 'x', { kind: 'upload', path: upload }, 1000);
  t.is(refused.error?.code, 'permission-denied', JSON.stringify(refused.error));
  t.regex(refused.error?.message ?? '', /\/su/);
  t.false(existsSync(upload));
  t.deepEqual(storeFiles(machine.state), nothing);
  t.is((await importBase(machine, 'x', { kind: 'path', path: tree }, 0)).status, 'done');
});

when(test, needs)(
  'a base is removed when nothing needs it, with its file after its last name',
  async (t) => {
    const machine = await machineIn(t);
    const { room, store, state, folder } = machine;
    const tree = join(folder, 'tree');
    makeTree(tree);
    await importBase(machine, 'one', { kind: 'path', path: tree });
    const { digest } = await readBase(store, 'one');
    await importBase(machine, 'again', { kind: 'path', path: tree });
    t.is((await readBase(store, digest)).name, 'one', 'the name it had first');
    await store.commit((tx) => {
      tx.run(
        "INSERT INTO personas (name, digest, base_digest, owner, created, bytes) VALUES ('p', 'x', ?, 0, 0, 0)",
        digest,
      );
    });
    t.is((await machine.run(planBaseRemoval(room, { base: 'one' }, 0))).status, 'done');
    t.is(storeFiles(state).layers?.length, 2);
    const error = await t.throwsAsync(planBaseRemoval(room, { base: 'again' }, 0));
    t.like(error, { code: 'in-use' });
    t.regex(String(error), /persona p/);
    await store.commit((tx) => tx.run('DELETE FROM personas'));
    const plan = await planBaseRemoval(room, { base: digest }, 0);
    await store.commit((tx) => {
      tx.run(
        "INSERT INTO personas (name, digest, base_digest, owner, created, bytes) VALUES ('p', 'x', ?, 0, 0, 0)",
        digest,
      );
    });
    t.is((await machine.run(plan)).error?.code, 'in-use');
    await store.commit((tx) => tx.run('DELETE FROM personas'));
    const removed = await machine.run(planBaseRemoval(room, { base: 'again' }, 0));
    t.like(removed, { status: 'done', result: { name: 'again', digest } });
    t.deepEqual(storeFiles(state), nothing);
    t.deepEqual(await listBases(room, 0), []);
  },
);

when(test, needs)(
  'a removal that waited leaves the base that has come to its name since',
  async (t) => {
    const machine = await machineIn(t);
    const { room, folder, state } = machine;
    const uploaded = (content: string): BaseSource => {
      const path = join(state, 'staging', content);
      writeFileSync(path, builtTar({ name: 'file', data: content }), { mode: 0o400 });
      return { kind: 'upload', path };
    };
    const tar = join(folder, 'same');
    writeFileSync(tar, builtTar({ name: 'file', data: 'same' }));
    for (const name of ['one', 'again'])
      t.is((await importBase(machine, name, { kind: 'path', path: tar })).status, 'done');
    const { digest } = await readBase(room.store, 'one');
    for (const content of ['same', 'other']) {
      const plan = await planBaseRemoval(room, { base: 'one' }, 0);
      t.is((await machine.run(planBaseRemoval(room, { base: 'one' }, 0))).status, 'done');
      t.is((await importBase(machine, 'one', uploaded(content), 1000)).status, 'done');
      t.is((await machine.run(plan)).error?.code, 'base-not-found', content);
      const base = await readBase(room.store, 'one');
      t.deepEqual([base.owner, base.digest === digest], [1000, content === 'same']);
    }
  },
);

for (const [name, subject] of [
  ['importing', importing],
  ['removing', removing],
] as const) {
  when(test, needs)(`${name}: each task twice, a failure at each point`, async (t) => {
    const seen = await course(t, subject);
    await proveRepeat(t, subject, seen);
    await proveFailures(t, subject, seen);
  });

  when(test, needs)(`${name}: a crash and a SIGKILL at each point`, async (t) => {
    const seen = await course(t, subject);
    await proveCrashes(t, subject, seen);
    await proveKills(t, subject, seen, { module, name });
  });
}
