import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Entry } from '../../../daemon/images/entry.ts';
import { decode } from '../../../daemon/images/stream.ts';
import { startAsCaller, startWalker, type WalkRequest } from '../../../daemon/kernel/as-caller.ts';
import { ProgramFailed } from '../../../daemon/kernel/exec.ts';
import { writeXattr } from '../../../daemon/kernel/xattrs.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const needs = { root: true, tools: ['prlimit', 'setpriv'] };
const root = { uid: 0, gid: 0, groups: [] };
const user = { uid: 61_184, gid: 61_185, groups: [61_186, 61_187] };

async function walk(
  request: Partial<WalkRequest> & { path: string },
): Promise<Map<string, Entry & { data: string }>> {
  const child = await startWalker({ caller: root, deadlineMs: 60_000, ...request });
  const found = new Map<string, Entry & { data: string }>();
  try {
    for await (const { entry, content } of decode(child.stdout as AsyncIterable<Buffer>)) {
      let data = '';
      for await (const piece of content) data += piece.toString('latin1');
      found.set(entry.path, { ...entry, data });
    }
  } catch (error) {
    await child.done;
    throw error;
  }
  await child.done;
  return found;
}

async function refusal(
  request: Partial<WalkRequest> & { path: string },
): Promise<{ code: string; detail: object }> {
  try {
    await walk(request);
  } catch (error) {
    if (error instanceof ProgramFailed) return JSON.parse(error.stderr);
    throw error;
  }
  return { code: 'none', detail: {} };
}

when(test, needs)('everything a tree holds is in the stream', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'a'), 'hello');
  chmodSync(join(folder, 'a'), 0o6751);
  chownSync(join(folder, 'a'), 70_000, 4_000_000_000);
  chmodSync(join(folder, 'a'), 0o6751);
  run('touch', '-d', '1969-12-31 23:59:58.5 UTC', join(folder, 'a'));
  writeXattr(join(folder, 'a'), 'user.odd\n', 'v\0\xff');
  writeXattr(join(folder, 'a'), 'trusted.mine', '1');
  mkdirSync(join(folder, 'a-dir'));
  run('ln', join(folder, 'a'), join(folder, 'a-dir/link'));
  run('mknod', join(folder, 'dev'), 'b', '300', '70000');
  run('mkfifo', join(folder, 'fifo'));
  symlinkSync('/nowhere', join(folder, 'sym'));
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0x0a, 0x20])]), '');
  writeFileSync(join(folder, 'sparse'), 'x');
  truncateSync(join(folder, 'sparse'), 1 << 24);
  const found = await walk({ path: folder });
  t.deepEqual(
    [...found.keys()],
    ['', 'a', 'a-dir', 'a-dir/link', 'dev', 'fifo', 'sparse', 'sym', '\xff\n '],
  );
  const a = found.get('a');
  t.like(a, {
    data: 'hello',
    mode: 0o6751,
    uid: 70_000,
    gid: 4_000_000_000,
    mtime: -2,
    mtimeNs: 500_000_000,
  });
  t.deepEqual(a?.xattrs, [
    ['trusted.mine', '1'],
    ['user.odd\n', 'v\0\xff'],
  ]);
  t.like(found.get('a-dir/link'), { type: 'hardlink', target: 'a' });
  t.like(found.get('dev'), { type: 'block', rdev: [300, 70_000] });
  t.like(found.get('sym'), { type: 'symlink', target: '/nowhere', mode: 0o777 });
  const sparse = found.get('sparse');
  t.is(sparse?.size, 1 << 24);
  t.is(sparse?.extents?.length, 1);
  t.true((sparse?.data.length ?? 0) <= 1 << 16);
});

when(test, needs)('other mounts and excluded folders stay as empty folders', async (t) => {
  const folder = temporaryFolder(t);
  for (const name of ['kept', 'out/inner', 'mnt'])
    mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'file'), 'covered');
  run('mount', '-t', 'tmpfs', 'personad-test', join(folder, 'mnt'));
  t.teardown(() => run('umount', join(folder, 'mnt')));
  mkdirSync(join(folder, 'mnt/hidden'));
  run('mount', '--bind', '/usr/bin/env', join(folder, 'file'));
  t.teardown(() => run('umount', join(folder, 'file')));
  const found = await walk({ path: folder, exclude: ['out'] });
  t.deepEqual([...found.keys()], ['', 'file', 'kept', 'mnt', 'out']);
  t.is(found.get('file')?.size, 0);
});

when(test, needs)(
  'it reads as the caller: what the caller may not read is refused and named',
  async (t) => {
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'tree'));
    writeFileSync(join(folder, 'tree/mine'), 'x');
    writeFileSync(join(folder, 'tree/secret'), 'x', { mode: 0o600 });
    const refused = await refusal({ path: join(folder, 'tree'), caller: user });
    t.is(refused.code, 'permission-denied');
    t.true(JSON.stringify(refused.detail).includes('secret'));
    chownSync(join(folder, 'tree/secret'), user.uid, user.gid);
    writeXattr(join(folder, 'tree/mine'), 'trusted.root', 'x');
    const found = await walk({ path: join(folder, 'tree'), caller: user });
    t.deepEqual(found.get('mine')?.xattrs, []);
    chownSync(join(folder, 'tree/secret'), 0, user.groups[1]!);
    chmodSync(join(folder, 'tree/secret'), 0o640);
    t.is((await walk({ path: join(folder, 'tree'), caller: user })).size, 3);
    t.is((await refusal({ path: join(folder, 'none') })).code, 'file-not-found');
    t.is((await refusal({ path: join(folder, 'tree/mine') })).code, 'bad-value');
  },
);

when(test, needs)(
  'a live tree: mounts are looked through, blanked files lose only their content',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'covered/below'), { recursive: true });
    run('mount', '-t', 'tmpfs', 'personad-test', join(folder, 'covered'));
    t.teardown(() => run('umount', join(folder, 'covered')));
    mkdirSync(join(folder, 'covered/above'));
    writeFileSync(join(folder, 'shadow'), 'secret', { mode: 0o640 });
    writeFileSync(join(folder, 'key'), 'secret');
    // Only what lies at the root of a mount is a tree that can be looked at without its mounts.
    run('mount', '--bind', folder, folder);
    t.teardown(() => run('umount', '-l', folder));
    const found = await walk({ path: folder, live: true, exclude: ['key'], blank: ['shadow'] });
    t.deepEqual([...found.keys()], ['', 'covered', 'covered/below', 'shadow']);
    t.like(found.get('shadow'), { size: 0, data: '', mode: 0o640 });
  },
);

when(test, needs)('a FIFO holds nobody up and a link is not followed', async (t) => {
  const folder = temporaryFolder(t);
  run('mkfifo', join(folder, 'fifo'));
  symlinkSync('/etc', join(folder, 'etc'));
  const found = await walk({ path: folder });
  t.deepEqual(
    [...found.values()].map((entry) => entry.type),
    ['dir', 'symlink', 'fifo'],
  );
});

when(test, needs)(
  'startAsCaller() gives a program the ids of the caller and nothing more',
  async (t) => {
    const child = await startAsCaller({
      argv: ['/bin/cat', '/proc/self/status'],
      caller: user,
      deadlineMs: 30_000,
    });
    let text = '';
    for await (const piece of child.stdout) text += String(piece);
    await child.done;
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*?)\\s*$`, 'm').exec(text)?.[1];
    t.is(field('Uid'), Array(4).fill(user.uid).join('\t'));
    t.is(field('Gid'), Array(4).fill(user.gid).join('\t'));
    t.is(field('Groups'), user.groups.join(' '));
    t.is(field('CapBnd'), '0000000000000000');
    t.is(field('NoNewPrivs'), '1');
    t.is(readFileSync('/proc/self/status', 'utf8').includes('Uid:\t0'), true);
  },
);
