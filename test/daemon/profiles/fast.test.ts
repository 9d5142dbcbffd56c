import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { partitionName, topFolders } from '../../../daemon/compose/fast-launches.ts';
import { moveProcess, readHierarchies } from '../../../daemon/kernel/cgroups.ts';
import { freezableIn } from '../../../daemon/kernel/freezer.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import { openDriver } from '../../../daemon/store/database.ts';
import { compileLauncher } from '../../../scripts/launcher.ts';
import { launcherNeeds } from '../../ctl/launch-plans.ts';
import { personactl } from '../../ctl/tool.ts';
import { asUser, privateTree, startLive } from '../../security/live-daemon.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { endFastGroups, endProcess, fastGroups, userSide } from '../../support/program-groups.ts';
import { knowPaint } from './paint.ts';

const unmanaged = () => (managerRuns() ? 'needs a machine without systemd' : memoryNeeds.other?.());
const live = when(test, {
  ...launcherNeeds,
  root: true,
  tools: ['bwrap', 'python3'],
  other: unmanaged,
});
const built = mkdtempSync(join(tmpdir(), 'personad-test-'));
const launcher = join(built, 'persona-run');

test.before(() => {
  compileLauncher(launcher);
  chmodSync(built, 0o755);
});
test.after.always(() => rmSync(built, { recursive: true, force: true }));

test('folders in other ones come with them', (t) => {
  const served = ['~/.paint/cache', '~/.paint', '~/.cache/paint', '~/.paint'].map((path) => ({
    path,
    holds: 'cache' as const,
    why: '',
  }));
  t.deepEqual(topFolders(served), ['.cache/paint', '.paint']);
  t.regex(partitionName('org.example.Paint', 1000), /^app-1000-[0-9a-f]{12}$/);
});

const games = { uid: 5, gid: 60 };
const PATH = '/usr/local/bin:/usr/bin:/bin';
const askSync = `
import json, os, socket
one = socket.socket(socket.AF_UNIX)
one.connect(os.environ['PERSONA_ROOT'] + '/run/user.sock')
one.send(json.dumps({'type': 'app.sync', 'data': {'id': 1, 'params': {}}}).encode() + b'\\f')
print('answered' if one.recv(1) else 'refused')
`;
/**
 * Writes each line that it reads into a file of its folder. At `leave` it leaves a process behind, which writes what comes out of a pipe; at
 * `fill 5` it appends 5 MiB to another file; at `sync` it asks the daemon to write back.
 */
const paint = `#!/bin/sh
cd "$(dirname "$0")/../games/.paint"
echo begun >&2
echo begun
while read -r line; do
  if [ "$line" = leave ]; then
    setsid sh -c 'read -r last < ../pipe; echo "$last" > file' > /dev/null 2>&1 &
    echo "left $!"
  elif [ "$line" = sync ]; then
    python3 -c "${askSync}"
  elif set -- $line; [ "$1" = fill ]; then
    head -c "$2M" /dev/zero >> big 2> /dev/null && echo filled || echo full
  else
    echo "$line" > file
    echo "done $(cat other)"
  fi
done
`;

/** Before the whole run is given up, which would leave everything behind. */
const limitMs = 120_000;

async function until<T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const end = performance.now() + limitMs; ; await pause(20)) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${look}`);
  }
}

/** A machine with one application whose data may lie in memory, and a daemon. `more` is told the home when its folders are there. */
async function paintMachine(
  t: ExecutionContext,
  more: (home: string) => void = () => undefined,
  settings = '',
) {
  const root = privateTree(t, userSide(t) + settings);
  endFastGroups(t, root);
  const disk = `${root}/machine/usr/games/.paint`;
  const program = `${root}/machine/usr/bin/paint`;
  const home = `${root}/machine/usr/games`;
  for (const folder of [home, `${root}/machine/usr/bin`]) mkdirSync(folder, { recursive: true });
  more(home);
  mkdirSync(disk);
  writeFileSync(program, paint, { mode: 0o755 });
  for (const name of ['file', 'other']) writeFileSync(`${disk}/${name}`, 'old\n');
  for (const at of [home, disk, `${disk}/file`, `${disk}/other`])
    chownSync(at, games.uid, games.gid);
  const daemon = await startLive(t, root);
  const client = await daemon.client();
  await knowPaint(client);
  const pages = async () => (await client.call('daemon.status', {})).inMemory ?? [];
  return { root, disk, program, daemon, client, pages };
}

/** Starts the application by the launcher; `said` is what the launcher had to say. */
async function start(t: ExecutionContext, root: string, program: string, ...words: string[]) {
  const child = spawn(launcher, [...words, 'paint', '--', program], {
    env: { PATH, PERSONA_ROOT: root },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    ...games,
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null)
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    await ended;
  });
  let said = '';
  child.stderr.on('data', (piece) => {
    said += String(piece);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const late = pause(60_000, undefined, { ref: false }).then(() => {
      throw new Error('it says nothing');
    });
    return String((await Promise.race([lines.next(), late])).value);
  };
  t.is(await line(), 'begun', said);
  // Its launcher has said everything before.
  await until(() => said.endsWith('begun\n') || undefined);
  said = said.slice(0, -'begun\n'.length);
  return {
    said: () => said,
    async write(text: string) {
      child.stdin.write(`${text}\n`);
      return await line();
    },
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}

/** Starts it until its folders are in memory: a first start may be too early for that. */
async function startFast(t: ExecutionContext, machine: Awaited<ReturnType<typeof paintMachine>>) {
  for (;;) {
    const one = await start(t, machine.root, machine.program);
    if (one.said() === '') return one;
    t.regex(one.said(), /starts as standard: /);
    await one.end();
    await until(async () => {
      const pages = await machine.pages();
      return pages.every(({ state }) => state === 'filled') || undefined;
    });
  }
}

/** Starts it until the daemon was quick enough for the launcher, each time when `isReady`. */
async function startInTime(
  t: ExecutionContext,
  { root, program }: Awaited<ReturnType<typeof paintMachine>>,
  isReady: () => Promise<boolean>,
  ...words: string[]
) {
  for (;;) {
    await until(async () => (await isReady()) || undefined);
    const one = await start(t, root, program, ...words);
    if (!/in time|no time/.test(one.said())) return one;
    await one.end();
  }
}

/** The process that writes back for this daemon. */
function writerOf(daemon: number): number {
  const isIt = (pid: string): boolean => {
    const told = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'latin1');
    try {
      return told('cmdline').includes('writer') && told('status').includes(`PPid:\t${daemon}\n`);
    } catch {
      return false;
    }
  };
  return Number(readdirSync('/proc').find((name) => /^\d+$/.test(name) && isIt(name)));
}

live(
  'an application works in memory, two instances share it, and at the end the disk has all',
  async (t) => {
    const machine = await paintMachine(t);
    const { root, disk, program, client, pages } = machine;
    const one = await startFast(t, machine);
    t.is(await one.write('new'), 'done old');
    t.is(readFileSync(`${disk}/file`, 'latin1'), 'old\n');
    const two = await start(t, root, program);
    t.is(two.said(), '');
    await one.end();
    t.is(await two.write('newer'), 'done old');
    const verified = await client.call('launch.verify', {});
    const memory = verified.applications.map(({ checks }) =>
      checks.find((c) => c.name === 'memory'),
    );
    t.deepEqual(
      memory.map((check) => check?.state),
      ['holds'],
    );
    const { running } = await client.call('daemon.status', {});
    t.like(running?.applications[0], {
      profile: 'fast',
      partition: `fast partition ${partitionName('paint', games.uid)}`,
    });
    t.is(typeof running?.applications[0]?.savedMs, 'number');
    const { applications } = await client.call('app.sync', {});
    t.like(applications[0], { app: 'paint', owner: { uid: 5 }, state: 'serving' });
    t.is(applications[0]?.problem, undefined);
    t.true(existsSync(`${root}/machine/usr/games/.persona-.paint/1.generation`));
    t.is(readFileSync(`${disk}/file`, 'latin1'), 'old\n');
    const writer = writerOf(machine.daemon.child.pid!);
    process.kill(writer, 'SIGSTOP');
    t.teardown(() => endProcess(writer));
    const late = await client.call('app.sync', { withinMs: 50 });
    t.regex(late.applications[0]?.problem ?? '', /not on the disk within 0.05 s/);
    process.kill(writer, 'SIGCONT');
    t.is((await client.call('app.sync', {})).applications[0]?.problem, undefined);
    const name = partitionName('paint', games.uid);
    const stops = () => readdirSync(join(machine.daemon.run, 'stops'));
    t.deepEqual(stops(), [name]);
    t.is(await two.write('sync'), 'answered');
    t.deepEqual(stops(), [], 'who waits for the answer is not stopped');
    await t.throwsAsync(client.call('fast.rm', { name, wait: true }), { code: 'in-use' });
    await two.end();
    await until(async () => ((await pages()).length === 0 ? true : undefined));
    t.is(readFileSync(`${disk}/file`, 'latin1'), 'newer\n');
    t.deepEqual(readdirSync(`${root}/machine/usr/games`), ['.paint']);
    t.deepEqual((await client.call('fast.list', {})).partitions, []);
  },
);

live(
  'nothing is lost when the daemon is killed and the application ends before the next one',
  async (t) => {
    const machine = await paintMachine(t);
    const { root, disk, daemon } = machine;
    const one = await startFast(t, machine);
    t.is(await one.write('new'), 'done old');
    await daemon.end('SIGKILL');
    t.is(await one.write('after the daemon'), 'done old');
    await one.end();
    t.is(readFileSync(`${disk}/file`, 'latin1'), 'old\n');
    const again = await startLive(t, root);
    const client = await again.client();
    await until(async () =>
      (await client.call('daemon.status', {})).inMemory === undefined ? true : undefined,
    );
    t.is(readFileSync(`${disk}/file`, 'latin1'), 'after the daemon\n');
  },
);

live('a stop of the daemon writes back what runs, and the next one goes on with it', async (t) => {
  const machine = await paintMachine(t);
  const { root, disk, daemon } = machine;
  const one = await startFast(t, machine);
  t.is(await one.write('new'), 'done old');
  await daemon.end('SIGTERM');
  t.true(existsSync(`${root}/machine/usr/games/.persona-.paint/1.generation`));
  const again = await startLive(t, root);
  const client = await again.client();
  t.is(await one.write('newer'), 'done old');
  await one.end();
  await until(async () =>
    (await client.call('daemon.status', {})).inMemory === undefined ? true : undefined,
  );
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'newer\n');
});

/** Lets the application leave a process behind, and end. What is written to the pipe is what that one writes. */
async function leaveBehind(t: ExecutionContext, machine: Awaited<ReturnType<typeof paintMachine>>) {
  const pipe = join(machine.disk, '../pipe');
  run('mkfifo', pipe);
  chownSync(pipe, games.uid, games.gid);
  const end = openSync(pipe, 'r+');
  t.teardown(() => closeSync(end));
  const one = await startFast(t, machine);
  const left = Number(/^left (\d+)$/.exec(await one.write('leave'))?.[1]);
  t.teardown(() => endProcess(left));
  return { left, end: one.end, write: (text: string) => writeSync(end, text) };
}

for (const where of ['its group', 'a group of somebody else'])
  live(
    `what an application leaves behind in ${where} works on in memory until it ends`,
    async (t) => {
      const machine = await paintMachine(t);
      const { disk, client, pages } = machine;
      const behind = await leaveBehind(t, machine);
      // As desktops do with what a program starts.
      if (where !== 'its group') await moveProcess(freezableIn(readHierarchies())!.at, behind.left);
      await behind.end();
      for (let looks = 0; looks < 2; looks += 1) {
        const { applications } = await client.call('app.sync', {});
        t.like(applications[0], { state: 'serving', instances: 1, problem: undefined });
      }
      t.is(readFileSync(`${disk}/file`, 'latin1'), 'old\n');
      behind.write('last\n');
      await until(async () => ((await pages()).length === 0 ? true : undefined));
      t.is(readFileSync(`${disk}/file`, 'latin1'), 'last\n');
    },
  );

live('two daemons on one machine serve the same application of the same user apart', async (t) => {
  const machines = [await paintMachine(t), await paintMachine(t)];
  const [one, two] = [await startFast(t, machines[0]!), await startFast(t, machines[1]!)];
  t.is(await one.write('first'), 'done old');
  t.is(await two.write('second'), 'done old');
  const groups = machines.map(({ root }) => fastGroups(root));
  t.deepEqual(
    groups.map(({ length }) => length),
    [1, 1],
  );
  t.is(new Set(groups.flat()).size, 2);
  // Neither waits for the other, nor ends it.
  await one.end();
  await until(async () => ((await machines[0]!.pages()).length === 0 ? true : undefined));
  t.is(readFileSync(`${machines[0]!.disk}/file`, 'latin1'), 'first\n');
  t.is(await two.write('third'), 'done old');
  await two.end();
  await until(async () => ((await machines[1]!.pages()).length === 0 ? true : undefined));
  t.is(readFileSync(`${machines[1]!.disk}/file`, 'latin1'), 'third\n');
});

/** Asks to start the program, and goes on when it is told to, without having read the answer. */
const impatient = `
import json, os, socket, sys
run, program, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
file = os.stat(program)
executable = {'path': program, 'device': str(file.st_dev), 'inode': str(file.st_ino)}
data = {'id': 1, 'params': {'app': 'paint', 'executable': executable}}
one = socket.socket(socket.AF_UNIX)
one.connect(run + '/user.sock')
one.send(json.dumps({'type': 'launch.plan', 'data': data}).encode() + b'\\f')
print('asked', flush=True)
sys.stdin.readline()
one.close()
print('gave up', flush=True)
sys.stdin.readline()
`;

for (const moment of ['before', 'after'])
  live(
    `a launcher that gave up ${moment} it was answered works on the disk, and is no instance`,
    async (t) => {
      const machine = await paintMachine(t);
      const { disk, program, daemon, client, pages } = machine;
      const one = await startFast(t, machine);
      const plans = async () => (await client.call('launch.list', {})).applications;
      // Memory is written to, and a launch told, only when the daemon goes on.
      if (moment === 'before') daemon.child.kill('SIGSTOP');
      t.teardown(() => daemon.child.kill('SIGCONT'));
      const other = partner(t, 'python3', '-c', impatient, daemon.run, program, String(games.uid));
      t.is(await other.line(), 'asked');
      const begun = async () => (await plans()).length === 2 || undefined;
      if (moment === 'after') await until(begun);
      other.say('give up');
      t.is(await other.line(), 'gave up');
      daemon.child.kill('SIGCONT');
      await until(begun);
      await until(async () => {
        const [last] = await plans();
        return (last?.profile === 'standard' && /did not wait/.test(last.reason)) || undefined;
      });
      t.is(await one.write('new'), 'done old');
      await one.end();
      // The one that works in memory was the only one.
      await until(async () => ((await pages()).length === 0 ? true : undefined));
      t.is(readFileSync(`${disk}/file`, 'latin1'), 'new\n');
      t.is(other.process.exitCode, null);
    },
  );

live('while one instance works on the disk, no other one begins in memory', async (t) => {
  const machine = await paintMachine(t);
  const { disk, client, pages } = machine;
  const isFilled = async () => (await pages()).some(({ state }) => state === 'filled');
  const one = await startInTime(t, machine, async () => true, '--profile', 'standard');
  t.is(one.said(), '');
  await until(async () => (await client.call('launch.list', {})).applications.length || undefined);
  await (await startInTime(t, machine, async () => true)).end();
  const two = await startInTime(t, machine, isFilled);
  t.regex(two.said(), /another instance of it works on the disk/);
  t.is(await one.write('new'), 'done old');
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'new\n');
  await two.end();
  await one.end();
  const three = await startFast(t, machine);
  t.is(await three.write('newer'), 'done old');
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'new\n');
});

/** No application can be noted as one in memory, as on a disk that is full. */
async function refuseNotes(state: string): Promise<void> {
  const driver = await openDriver(join(state, 'personad.db'));
  await driver.exec(
    "CREATE TRIGGER full BEFORE INSERT ON served BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
  );
  await driver.close();
}

live('a launch that cannot be noted is told as one that works on the disk', async (t) => {
  const before = await paintMachine(t);
  await before.daemon.end('SIGTERM');
  await refuseNotes(before.daemon.state);
  const daemon = await startLive(t, before.root);
  const client = await daemon.client();
  const pages = async () => (await client.call('daemon.status', {})).inMemory ?? [];
  const machine = { ...before, daemon, client, pages };
  const listed = async () => (await client.call('launch.list', {})).applications;
  const isFilled = async () => (await pages()).some(({ state }) => state === 'filled');
  // A daemon that has just begun may not have been asked.
  await until(async () => {
    await (await start(t, machine.root, machine.program)).end();
    return (await isFilled()) || undefined;
  });
  // One that was asked for too late is listed, too, until its end was seen.
  const isAlone = async () => (await isFilled()) && (await listed()).length === 0;
  const one = await startInTime(t, machine, isAlone);
  t.regex(one.said(), /starts as standard: it could not be put into memory: .*the disk is full/);
  const [found, ...more] = await listed();
  t.deepEqual(more, []);
  t.like(found, { app: 'paint', profile: 'standard' });
  t.regex(found?.reason ?? '', /it could not be put into memory/);
  t.is((await pages())[0]?.instances, 0);
  t.regex(daemon.output(), /cannot put a launch into memory/);
  const two = await startInTime(t, machine, isFilled);
  t.regex(two.said(), /another instance of it works on the disk/);
  await two.end();
  t.is(await one.write('new'), 'done old');
  t.is(readFileSync(`${machine.disk}/file`, 'latin1'), 'new\n');
  await one.end();
});

live('memory that a program is in keeps no daemon from starting', async (t) => {
  const machine = await paintMachine(t);
  const { root, disk, program, daemon, client, pages } = machine;
  // Beside one that works on the disk memory is filled, and not used.
  const one = await startInTime(t, machine, async () => true, '--profile', 'standard');
  await until(async () => (await client.call('launch.list', {})).applications.length || undefined);
  await (await start(t, root, program)).end();
  await until(async () => (await pages()).some(({ state }) => state === 'filled') || undefined);
  const [partition] = (await client.call('fast.list', {})).partitions;
  const inside = spawn('/bin/sh', ['-c', 'echo there; read -r end'], {
    cwd: partition!.path,
    stdio: ['pipe', 'pipe', 'inherit'],
    ...games,
  });
  const left = new Promise((resolve) => inside.once('exit', resolve));
  t.teardown(() => inside.kill('SIGKILL'));
  await new Promise((resolve) => inside.stdout.once('data', resolve));
  await daemon.end('SIGTERM');
  t.notRegex(daemon.output(), /cannot write back/);
  const again = await startLive(t, root);
  t.regex(again.output(), /cannot remove memory that was left/);
  const next = await again.client();
  t.is((await next.call('fast.list', {})).partitions.length, 1);
  inside.stdin.end();
  await Promise.all([left, one.end()]);
  writeFileSync(`${disk}/other`, 'newer\n');
  const inMemory = async () => (await next.call('daemon.status', {})).inMemory ?? [];
  const three = await until(async () => {
    const begun = await startFast(t, { ...machine, pages: inMemory });
    if ((await inMemory()).some(({ state }) => state === 'serving')) return begun;
    // A daemon that has just begun may not have been asked.
    await begun.end();
    return undefined;
  });
  t.is(await three.write('new'), 'done newer');
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'old\n');
});

/** Puts so many files into the application's folder. */
function fillFolder({ disk }: { disk: string }, count: number): void {
  const input = Array.from({ length: count }, (_, n) => `${n}\n`).join('');
  mkdirSync(`${disk}/many`);
  chownSync(`${disk}/many`, games.uid, games.gid);
  execFileSync('split', ['-a', '5', '-l', '1', '-', `${disk}/many/`], { input, ...games });
}

live('a folder that is too large for a launch is in memory for each later one', async (t) => {
  const machine = await paintMachine(t);
  const { disk, pages } = machine;
  fillFolder(machine, 2500);
  const first = await start(t, machine.root, machine.program, '--profile', 'standard');
  await (await start(t, machine.root, machine.program)).end();
  const isFilled = async () => (await pages()).some(({ state }) => state === 'filled');
  await until(async () => (await isFilled()) || undefined);
  // What was read by now is not what the next one is to have.
  t.is(await first.write('first'), 'done old');
  await first.end();
  const next = await startFast(t, machine);
  t.is(await next.write('next'), 'done old');
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'first\n');
  await next.end();
  await until(() => readFileSync(`${disk}/file`, 'latin1') === 'next\n' || undefined);
  // It is there again before anybody asks.
  const last = await startInTime(t, machine, isFilled);
  t.is(last.said(), '');
  t.is(await last.write('last'), 'done old');
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'next\n');
});

const MiB = 2 ** 20;
const ownerPercent = 4;
const roomy = when(test, {
  ...launcherNeeds,
  root: true,
  tools: ['bwrap', 'python3'],
  other: () =>
    unmanaged() ?? (totalmem() < 8 * 2 ** 30 ? 'needs 8 GiB of memory for a quota' : undefined),
});

roomy('what it was given grows with what it writes, up to the quota of its user', async (t) => {
  const settings = `[fast]\nowner_percent = ${ownerPercent}\n`;
  const machine = await paintMachine(t, undefined, settings);
  const { disk, daemon, client, pages } = machine;
  const name = partitionName('paint', games.uid);
  const sizeOf = async () => {
    const { partitions } = await client.call('fast.list', {});
    const { blocks, bsize } = statfsSync(join(daemon.run, 'fast', name));
    const size = partitions.find((one) => one.name === name)?.bytes;
    return size === blocks * bsize ? size : undefined;
  };
  const one = await startFast(t, machine);
  const given = await until(sizeOf);
  // What his quota has left is enough to double it once.
  const { totalBytes } = await client.call('partitions.show', {});
  const quota = Math.floor((totalBytes * 0.8 * ownerPercent) / 100);
  const rest = { name: 'rest', bytes: quota - 3 * given, on: 'ram', wait: true };
  const made = await asUser(games.uid, [], daemon.run, [['fast.create', rest]]);
  t.is(made[0]?.error, undefined);
  // Copies that wait to be written take room, too: none is made for a while after this.
  const sync = () => client.call('app.sync', {});
  await sync();
  t.is(await one.write('fill 52'), 'filled');
  const grown = await until(async () => {
    const size = await sizeOf();
    return size === given ? undefined : size;
  });
  t.is(grown, 2 * given);
  await sync();
  t.is(await one.write('fill 56'), 'filled');
  const shortage = await until(async () => (await pages())[0]?.shortage);
  t.regex(shortage, /^only .* could not be given more: .*your fast partitions together is over/);
  t.is(await sizeOf(), grown);
  const synced = await personactl({ root: machine.root }, 'app', 'sync', 'paint');
  t.is(synced.status, 0, 'what it has written is on the disk');
  t.regex(synced.out, /^! paint: only \S/m);
  await one.end();
  await until(async () => ((await pages()).length === 0 ? true : undefined));
  t.is(statSync(join(disk, 'big')).size, 108 * MiB);
});

const MANY = 100_000;
const large = when(test, {
  ...launcherNeeds,
  root: true,
  tools: ['bwrap', 'python3', 'split', 'mount'],
  other: () =>
    unmanaged() ?? (totalmem() < 8 * 2 ** 30 ? 'needs 8 GiB of memory for 10^5 files' : undefined),
});

large('a folder of 10^5 files holds up no launch', async (t) => {
  const options = `mode=0755,size=1g,nr_inodes=${2 * MANY}`;
  const machine = await paintMachine(t, (home) => {
    run('mount', '-t', 'tmpfs', '-o', options, 'persona-test', home);
  });
  const { disk } = machine;
  fillFolder(machine, MANY);
  const first = await start(t, machine.root, machine.program);
  t.regex(first.said(), /starts as standard: /);
  await first.end();
  const next = await startFast(t, machine);
  t.is(await next.write('next'), 'done old');
  t.is(readFileSync(`${disk}/file`, 'latin1'), 'old\n');
  await next.end();
  await until(() => readFileSync(`${disk}/file`, 'latin1') === 'next\n' || undefined);
  t.is(readdirSync(`${disk}/many`).length, MANY);
});
