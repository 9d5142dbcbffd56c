import { createHash } from 'node:crypto';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { upload } from '../../ctl/transfer.ts';
import { noFaults } from '../../daemon/changes/faults.ts';
import { defineTask } from '../../daemon/changes/task.ts';
import { Secret } from '../../daemon/config/secret.ts';
import { openDriver } from '../../daemon/store/database.ts';
import { openParts } from '../changes/sample.ts';
import { fscryptNeeds } from '../support/fscrypt.ts';
import { confinedNeeds, lacking, run, when } from '../support/needs.ts';
import { timesInMemory } from '../support/process-memory.ts';
import { builtTar } from '../support/tar-builder.ts';
import { temporaryFolder } from '../support/temp.ts';
import { type Asked, asUser, done, group, longScope, users } from './live-daemon.ts';
import { type Place, populated } from './place.ts';
import { changedCopy } from './trees.ts';

// What a daemon leaves of secrets (SECURITY 22), of numbers that mean nothing after a boot (29), and what
// its children are given (23).

const needs = confinedNeeds;
/** Knobs that move by themselves, or at each look. */
const restless =
  /^(kernel\/(random|ns_last_pid|pty\/nr|sched_domain|tainted)|fs\/(.*-nr|.*-state|quota|binfmt_misc)|net\/.*(flush|conntrack_count))/;

/** Every setting of the kernel and every file of /etc, as one digest each. */
function hostFacts(): Map<string, string> {
  const facts = new Map<string, string>();
  for (const top of ['/proc/sys', '/etc'])
    for (const name of readdirSync(top, { recursive: true, encoding: 'utf8' })) {
      if (top === '/proc/sys' && restless.test(name)) continue;
      const path = join(top, name);
      const stat = lstatSync(path, { throwIfNoEntry: false });
      // What root cannot write is a counter, not a setting.
      if (!stat?.isFile() || (top === '/proc/sys' && (stat.mode & 0o200) === 0)) continue;
      try {
        const bytes = readFileSync(path);
        facts.set(path, createHash('sha256').update(bytes).digest('hex'));
      } catch {
        // a knob that can only be written, or has no value now
      }
    }
  return facts;
}

const scope = longScope();
let before: Map<string, string>;
/** A descriptor that whoever started the daemon had left open. */
const strangers = join('/etc', 'passwd');
let place: Place;
if (lacking(needs) === undefined) {
  test.before(async () => {
    before = hostFacts();
    const left = openSync(strangers, 'r');
    place = await populated(scope, [left, left]);
    closeSync(left);
  });
  test.after.always(() => scope.end());
}

/** All bytes of the rows, also of those that are only in the write-ahead log. */
const rows = () =>
  ['', '-wal'].map((end) => readFileSync(join(place.daemon.state, `personad.db${end}`), 'latin1'));

test('a plan that holds a secret is neither journalled nor shown', async (t) => {
  const canary = 'canary-5b7d11';
  const kind = defineTask({
    kind: 'test.secret',
    summary: () => 'x',
    do: async () => {},
    undo: 'nothing-to-undo',
  });
  const hooks = { faults: noFaults, openDriver, wrapTask: (task: never) => task };
  const folder = temporaryFolder(t);
  const { engine, store } = await openParts(folder, [kind], hooks as never);
  await engine.recover();
  const params = { password: new Secret(canary) } as never;
  const plan = {
    kind: 'test',
    summary: 'x',
    ownerUid: 0,
    holds: [],
    tasks: [{ kind: 'test.secret', params }],
  };
  await t.throwsAsync(engine.submit(plan), { message: /cannot be written down/ });
  t.throws(() => engine.dryRun(plan), { message: /cannot be written down/ });
  t.deepEqual(await engine.list(10), []);
  await store.close();
  for (const name of readdirSync(folder))
    t.false(readFileSync(join(folder, name), 'latin1').includes(canary), name);
});

when(test, needs)(
  'tickets and the machine key are in no row, log, page or command line',
  async (t) => {
    const { daemon } = place;
    const client = await daemon.client();
    const secrets: string[] = [];
    const { ticket: unused } = await client.call('bulk.open', { direction: 'up' });
    const { ticket: exported } = await client.call('persona.export', { persona: 'a' });
    secrets.push(unused, exported);
    const asked: Asked[] = [
      ['bulk.open', { direction: 'up' }],
      [
        'persona.create',
        { name: 'up', base: 'base', tree: { kind: 'upload', ticket: 'TICKET' }, wait: true },
        builtTar({ name: 'x', data: 'x' }).toString('base64'),
      ],
      ['persona.import', { source: { kind: 'upload', ticket: 'canary0123456789' }, wait: true }],
    ];
    const given = await asUser(users.owner, [group.gid], daemon.run, asked);
    t.is(given[1]?.error, undefined);
    secrets.push((given[0] as { result: { ticket: string } }).result.ticket, 'canary0123456789');
    const key = readFileSync(join(daemon.state, 'keys/machine.ed25519'), 'ascii');
    secrets.push(...key.split('\n').filter((line) => line !== '' && !line.includes('-----')));
    const { changes } = await client.call('change.list', { all: true });
    const pages = await Promise.all(
      changes.map(({ id }) => client.call('change.show', { change: id })),
    );
    const dryRun = await client.call('slot.swap', { slot: 'work', persona: 'b', dryRun: true });
    const status = await client.call('daemon.status', {});
    const { pid } = daemon.child;
    const proc = ['cmdline', 'environ', 'comm'].map((name) =>
      readFileSync(`/proc/${pid}/${name}`, 'latin1'),
    );
    const places: Record<string, string[]> = {
      rows: rows(),
      log: [daemon.output()],
      pages: [JSON.stringify([pages, dryRun, status])],
      process: proc,
    };
    for (const [name, texts] of Object.entries(places)) {
      t.true(texts.join('').length > 0, name);
      for (const secret of secrets)
        t.false(
          texts.some((text) => text.includes(secret)),
          `${name} hold ${secret.slice(0, 12)}`,
        );
    }
  },
);

when(test, { ...fscryptNeeds, tools: [...needs.tools, 'mkfs.ext4'] })(
  'the passphrase of an enclave is in no row, file, log, page or command line, and not in memory',
  async (t) => {
    const { daemon } = place;
    const client = await daemon.client();
    const canary = 'canary-passphrase-91c4e7';
    const pid = daemon.child.pid ?? 0;
    const tickets: string[] = [];
    const send = async (): Promise<string> => {
      const { ticket } = await client.call('bulk.open', { direction: 'secret' });
      const data = async function* () {
        yield Buffer.from(canary);
      };
      await upload(client.path, ticket, data(), () => {});
      tickets.push(ticket);
      return ticket;
    };
    const shape = {
      name: 'vault',
      bytes: 16 * 1024 ** 2,
      key: 'passphrase' as const,
      type: 'fscrypt' as const,
    };
    await done(client, 'enclave.create', { ...shape, secret: await send() });
    await done(client, 'enclave.passwd', {
      enclave: 'vault',
      secret: await send(),
      new: { key: 'passphrase', secret: await send() },
    });
    await done(client, 'enclave.recovery', {
      enclave: 'vault',
      secret: await send(),
      recovery: await send(),
    });
    await done(client, 'enclave.open', {
      enclave: 'vault',
      secret: await send(),
      recovery: true,
    });
    // More than a core dump would hold. What is found of other texts shows that the looking works.
    t.true(timesInMemory(pid, daemon.root) > 0);
    t.is(timesInMemory(pid, canary), 0);
    // Taken by nobody, and refused.
    await send();
    await t.throwsAsync(done(client, 'enclave.open', { enclave: 'vault', secret: await send() }), {
      code: 'enclave-state',
    });
    const { changes } = await client.call('change.list', { all: true });
    const shown = await Promise.all(
      changes.map(({ id }) => client.call('change.show', { change: id })),
    );
    const page = await client.call('enclave.show', { enclave: 'vault' });
    const status = await client.call('daemon.status', {});
    const files = readdirSync(daemon.state, { recursive: true, encoding: 'utf8' })
      .map((name) => join(daemon.state, name))
      .filter((path) => lstatSync(path).isFile());
    const places: Record<string, string[]> = {
      files: files.map((path) => readFileSync(path, 'latin1')),
      log: [daemon.output()],
      pages: [JSON.stringify([shown, page, status])],
      process: ['cmdline', 'environ'].map((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1')),
      kernel: [
        readFileSync('/proc/keys', 'latin1'),
        readFileSync('/proc/self/mountinfo', 'latin1'),
      ],
    };
    for (const [name, texts] of Object.entries(places)) {
      t.true(texts.join('').length > 0, name);
      for (const secret of [canary, Buffer.from(canary).toString('base64'), ...tickets])
        t.false(
          texts.some((text) => text.includes(secret)),
          `${name} hold ${secret.slice(0, 12)}`,
        );
    }
    await done(client, 'enclave.close', { enclave: 'vault' });
    await done(client, 'enclave.rm', { enclave: 'vault' });
  },
);

when(test, needs)('what lasts only until a reboot carries the id of the boot', async (t) => {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'ascii').trim();
  const copy = temporaryFolder(t);
  for (const [at, end] of ['', '-wal'].entries())
    writeFileSync(join(copy, `x.db${end}`), Buffer.from(rows()[at] ?? '', 'latin1'));
  const driver = await openDriver(join(copy, 'x.db'));
  t.teardown(() => driver.close());
  const uppers = await driver.all(
    "SELECT boot FROM uppers WHERE state IN ('active', 'draining')",
    [],
  );
  t.true(uppers.length > 0);
  for (const upper of uppers) t.is(upper.boot, boot);
  // A tree is found again by its own mark in the mount table, never by a number that was written down.
  const kept = (await driver.all('SELECT * FROM changes', []))
    .concat(await driver.all('SELECT * FROM events', []))
    .concat(await driver.all('SELECT * FROM generations', []));
  t.notRegex(JSON.stringify(kept), /\bloop\d|mountId|"pid"|"device"/);
  t.regex(run('cat', '/proc/self/mountinfo'), / persona:work:[0-9a-f]{16} /);
});

interface Seen {
  command: string;
  fd: string;
  to: string;
  /** A mount of the daemon that is attached nowhere, which has no path. */
  mount: boolean;
}

function leadsTo(pid: number, fd: string): { to: string; device: number } {
  const place = `/proc/${pid}/fd/${fd}`;
  return { to: readlinkSync(place), device: statSync(place).dev };
}

/** Devices of the mounts that a process holds and that are attached nowhere. */
function mountsHeld(pid: number): number[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const { to, device } = leadsTo(pid, fd);
      return to === '/' ? [device] : [];
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** What the descriptors from 3 up of every process below `pid` lead to, at this moment. */
function descriptorsBelow(pid: number, own: string): Seen[] {
  const seen: Seen[] = [];
  const visit = (parent: number): void => {
    let tasks: string[] = [];
    try {
      tasks = readdirSync(`/proc/${parent}/task`);
    } catch {
      return;
    }
    for (const task of tasks) {
      try {
        const children = readFileSync(`/proc/${parent}/task/${task}/children`, 'ascii');
        for (const child of children.trim().split(' ').filter(Boolean).map(Number)) {
          look(child);
          visit(child);
        }
      } catch {
        // it has ended
      }
    }
  };
  const found = (child: number, fd: string) => {
    const { to, device } = leadsTo(child, fd);
    // Asked at once: numbers of devices are used again.
    return { to, mount: to === '/' && mountsHeld(pid).includes(device) };
  };
  const look = (child: number): void => {
    const command = readFileSync(`/proc/${child}/cmdline`, 'latin1');
    // Between fork and exec it is still the daemon itself.
    if (command === own || command === '') return;
    for (const fd of readdirSync(`/proc/${child}/fd`))
      if (Number(fd) > 2)
        seen.push({ command: command.replaceAll('\0', ' '), fd, ...found(child, fd) });
  };
  visit(pid);
  return seen;
}

when(test, needs)(
  'children are given their own descriptors, while slots are swapped',
  async (t) => {
    const { daemon, root } = place;
    const pid = daemon.child.pid ?? 0;
    const client = await daemon.client();
    const own = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    const held = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    t.true(held.includes(strangers), 'the daemon itself was started with a foreign descriptor');
    const sockets = new Set(held.filter((to) => to.startsWith('socket:')));
    let over = false;
    const seen = new Map<string, Seen>();
    const watching = (async () => {
      while (!over) {
        try {
          for (const one of descriptorsBelow(pid, own))
            seen.set(`${one.command} ${one.to} ${one.mount}`, one);
        } catch {
          // a child ended while it was looked at
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const path = changedCopy(place.base, root, 'c');
    mkdirSync(join(path, 'more'));
    const making = done(client, 'persona.create', {
      name: 'c',
      base: 'base',
      tree: { kind: 'path', path },
    });
    for (let round = 0; round < 40; round += 1) {
      await done(client, 'slot.swap', { slot: 'work', persona: round % 2 === 0 ? 'b' : 'a' });
    }
    t.true(mountsHeld(pid).length > 0, 'the daemon holds mounts');
    await making;
    await asUser(users.owner, [group.gid], daemon.run, [
      [
        'persona.create',
        { name: 'd', base: 'base', tree: { kind: 'upload', ticket: 'TICKET' }, wait: true },
        builtTar({ name: 'x', data: 'x' }).toString('base64'),
      ],
    ]);
    over = true;
    await watching;
    const commands = [...seen.values()].map(({ command }) => command);
    t.true(
      commands.some((one) => one.includes('worker')),
      'readers and writers were seen',
    );
    const given = ['staging', 'layers', 'personas'].map((name) => `${daemon.state}/${name}/`);
    const wrong = [...seen.values()].filter(({ command, to, mount }) => {
      if (mount || sockets.has(to) || to === strangers || to.includes('inotify')) return true;
      const walks = command.includes('walker') && to.startsWith(path);
      return to.startsWith(root) && !walks && !given.some((folder) => to.startsWith(folder));
    });
    t.deepEqual(wrong.slice(0, 5), []);
  },
);

// SECURITY 13. The last of the file: everything above has run.
when(test, needs)('no setting of the kernel and no file of /etc was changed by any of it', (t) => {
  const after = hostFacts();
  t.true(before.size > 100);
  const changed = [...before].filter(([path, digest]) => after.get(path) !== digest);
  t.deepEqual(
    changed.map(([path]) => path),
    [],
  );
  t.deepEqual(
    [...after.keys()].filter((path) => path.startsWith('/etc') && !before.has(path)),
    [],
  );
});
