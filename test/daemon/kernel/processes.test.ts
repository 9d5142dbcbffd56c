import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { withAncestors } from '../../../daemon/kernel/ancestors.ts';
import { attach, changeMount, unmount } from '../../../daemon/kernel/mounts.ts';
import { leaderOf } from '../../../daemon/kernel/process-ids.ts';
import {
  openProcess,
  processStat,
  signalProcess,
  whoIsInside,
} from '../../../daemon/kernel/processes.ts';
import { statMount } from '../../../daemon/kernel/stat-mount.ts';
import { UnmountWatch } from '../../../daemon/kernel/unmount-watch.ts';
import {
  imageOf,
  layerOf,
  newUpper,
  partner,
  scratchFolder,
  treeOf,
} from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'unshare'] });

rooted('who keeps a tree alive is found: root, folder, file, map, private namespace', async (t) => {
  const folder = scratchFolder(t);
  const image = imageOf(folder, 'a', { 'etc/name': 'a', 'proc/x': '' });
  const tree = await treeOf(t, folder, [{ mount: await layerOf(t, image) }]);
  const { device } = statMount(tree);
  const place = `${folder}/place`;
  mkdirSync(place);
  attach(tree, place);
  changeMount(place, { propagation: 'private' });
  const shell = (script: string) => partner(t, 'sh', '-c', `${script}; read line`, 'sh', place);
  const holders = {
    cwd: shell('cd "$1/etc"; echo ready'),
    fd: shell('exec 5< "$1/etc/name"; echo ready'),
    namespace: partner(t, 'unshare', '--mount', 'sh', '-c', 'echo ready; read line'),
  };
  const outside = shell('echo ready');
  for (const one of [...Object.values(holders), outside]) t.is(await one.line(), 'ready');
  await unmount(place, { detach: true });
  // Whom another test keeps from being told is not among them.
  const found = (await whoIsInside(new Set([device]))).filter((one) => one.device === device);
  const by = new Map(found.map((one) => [one.pid, one.by]));
  for (const [hold, one] of Object.entries(holders))
    t.is(by.get(one.process.pid ?? 0), hold as never);
  t.false(by.has(outside.process.pid ?? 0));
  t.is(found.length, 3);

  const watch = new UnmountWatch();
  t.teardown(() => watch.close());
  let ended = false;
  const end = new Promise<void>((resolve) =>
    watch.watch(tree, () => {
      ended = true;
      resolve();
    }),
  );
  await tree.closeLater();
  await holders.cwd.end();
  await holders.fd.end();
  watch.look();
  t.false(ended); // the namespace still has it
  await holders.namespace.end();
  await end; // from here the device number may belong to another file system
});

rooted('the kernel keeps its word: an upper is complete when its end is told', async (t) => {
  const folder = scratchFolder(t);
  const upper = newUpper(folder);
  const { mountOverlay } = await import('../../../daemon/kernel/overlay.ts');
  const lowers = [{ mount: await layerOf(t, imageOf(folder, 'a', { f: '' })) }];
  const tree = await mountOverlay({ lowers, upper, source: 'persona:test' }, 'fd');
  writeFileSync(`${tree.path}/last`, 'words');
  const watch = new UnmountWatch();
  t.teardown(() => watch.close());
  const end = new Promise<void>((resolve) => watch.watch(tree, resolve));
  const awake = setInterval(() => undefined, 1_000); // the watch alone keeps no process running
  t.teardown(() => clearInterval(awake));
  await tree.closeLater();
  await end;
  t.is(readFileSync(`${upper}/fs/last`, 'utf8'), 'words');
});

test('a handle is refused when the number belongs to another process by now', async (t) => {
  const child = partner(t, 'sh', '-c', 'echo ready; read line');
  await child.line();
  const stat = processStat(child.process.pid ?? 0);
  t.is(stat?.name, 'sh');
  t.is(openProcess({ pid: stat!.pid, startTime: stat!.startTime - 1 }), undefined);
  const handle = openProcess(stat!);
  t.true(signalProcess(handle!, 'SIGKILL'));
  await child.end();
  t.false(signalProcess(handle!, 'SIGKILL'));
  handle?.close();
  t.is(openProcess(stat!), undefined);
});

test('who has started a process is known, up to the first', async (t) => {
  const child = partner(t, 'sh', '-c', 'sh -c "echo \\$\\$; read line"; echo over');
  const pid = Number(await child.line());
  const line = withAncestors(pid);
  t.deepEqual(line.slice(0, 4), [pid, child.process.pid, process.pid, process.ppid]);
  t.is(new Set(line).size, line.length);
  child.say('');
  t.is(await child.line(), 'over');
  t.deepEqual(withAncestors(pid), [pid]);
});

test('a process cannot say by its name whose it is', async (t) => {
  for (const end of ['\r', '\u2028']) {
    const script = `printf '%b' "$1" >/proc/$$/comm; echo ready; read line`;
    for (const lie of [`${end}Uid:\t77\t77`, `${end}Tgid:\t1`]) {
      const { process: child, line, end: stop } = partner(t, 'sh', '-c', script, 'sh', lie);
      t.is(await line(), 'ready');
      const stat = processStat(child.pid ?? 0);
      t.is(stat?.name, Buffer.from(lie).toString('latin1'));
      t.is(stat?.uid, process.getuid?.());
      t.is(leaderOf(child.pid ?? 0), child.pid);
      await stop();
    }
  }
});
