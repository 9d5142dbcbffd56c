import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { when } from '../support/needs.ts';
import { bootContainer, containerNeeds } from '../support/systemd-container.ts';

/** Knobs that the kernel itself changes at any time. */
const moving =
  /random|dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota|ns_last_pid|pty\/nr|net\/|loadavg|cad_pid|perf|domainname/;

/** Every setting of the machine that can be read. */
function knobs(folder = '/proc/sys'): Map<string, string> {
  const seen = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || moving.test(path)) continue;
    try {
      seen.set(path, readFileSync(path, 'latin1'));
    } catch {
      // Only to be written.
    }
  }
  return seen;
}

/** Kind, number, mode and owner of every device node. */
function nodes(): Map<string, string> {
  const seen = new Map<string, string>();
  for (const name of readdirSync('/dev', { recursive: true, encoding: 'utf8' })) {
    // Terminals come and go; so do loop devices and their nodes.
    if (/^(pts|shm|fd|mqueue)(\/|$)|^loop\d/.test(name)) continue;
    const stat = lstatSync(join('/dev', name), { throwIfNoEntry: false });
    if (stat === undefined) continue;
    seen.set(name, `${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${stat.rdev}`);
  }
  return seen;
}

function changed(before: Map<string, string>, after: Map<string, string>): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => `${name}: ${before.get(name)} -> ${after.get(name)}`);
}

/** What on the host speaks of this container: mounts, loop devices, cgroups, processes. */
function traces(group: string, place: string): string[] {
  const found: string[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n'))
    if (line.includes(place) || line.includes(group)) found.push(`mount ${line}`);
  for (const name of readdirSync('/sys/block')) {
    const file = join('/sys/block', name, 'loop/backing_file');
    if (existsSync(file) && readFileSync(file, 'utf8').includes(place)) found.push(name);
  }
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      if (text.includes(group)) found.push(`process ${pid}`);
    } catch {
      // It has ended.
    }
  }
  const roots = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
  for (const root of roots) if (existsSync(join(root, group))) found.push(`cgroup in ${root}`);
  if (existsSync(place)) found.push(place);
  return found;
}

when(test, containerNeeds)(
  'a container changes nothing of the host and leaves nothing',
  async (t) => {
    const before = { knobs: knobs(), nodes: nodes(), name: hostname() };
    const ends: (() => unknown)[] = [];
    const machine = await bootContainer(
      { teardown: (end) => void ends.push(end) },
      { suite: 'trixie' },
    );
    const { group, place } = machine;
    t.teardown(async () => {
      for (const end of ends) await end();
    });

    const own = readlinkSync('/proc/self/ns/mnt');
    t.not(readlinkSync(`/proc/${machine.pid()}/ns/mnt`), own);
    t.is((await machine.ok(['hostname'])).trim(), 'machine');
    t.is((await machine.ok(['cat', '/proc/1/comm'])).trim(), 'systemd');
    // What systemd and its services would set on a machine of their own.
    for (const knob of ['/proc/sys/kernel/panic', '/proc/sysrq-trigger', '/sys/kernel/mm/ksm/run'])
      t.not((await machine.run(['tee', knob], { input: '0' })).status, 0, knob);
    await machine.run(['systemctl', 'start', 'systemd-sysctl.service']);
    for (const node of ['/dev/null', '/dev/console', '/dev/loop0']) {
      await machine.ok(['chown', '1:1', node]);
      await machine.ok(['chmod', '0', node]);
    }
    await machine.ok(['chmod', '666', '/dev/null']);
    await machine.ok(['mount', '-t', 'tmpfs', 'inside', '/mnt']);
    await machine.stop();
    await machine.start();
    const left = machine.spawn(['sleep', '1000']);
    await machine.kill();
    if (left.exitCode === null && left.signalCode === null)
      await new Promise((resolve) => left.once('close', resolve));
    t.pass('what ran inside has ended with PID 1');
    await machine.start();
    for (const end of ends) await end();

    t.deepEqual(changed(before.nodes, nodes()), []);
    t.deepEqual(changed(before.knobs, knobs()), []);
    t.is(hostname(), before.name);
    t.deepEqual(traces(group, place), []);
  },
);
