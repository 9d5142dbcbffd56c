import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseMountinfo } from '../../daemon/kernel/mountinfo.ts';
import { debianRoot, lackingDebianRoot, type Suite } from './debian-root.ts';

/** A second on a quiet machine. */
const bootMs = 60_000;
const stopMs = 20_000;
const runMs = 60_000;
const pollMs = 25;

const program = fileURLToPath(new URL('./systemd-container.sh', import.meta.url));
const groupPrefix = 'personad-container-';

/** Units that a machine without terminals and network has no use for. */
const masked = [
  'console-getty.service',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
];

/** Whatever ends a container: a test, or the tests of a file that share one. */
export interface Scope {
  teardown(end: () => unknown): void;
}

/** What to boot. */
export interface ContainerOptions {
  suite: Suite;
  /** Texts of files of the machine by their absolute paths, there before it starts. */
  files?: Readonly<Record<string, string>>;
  /** Its state tree lies on the overlay of its root, which cannot hold uppers. */
  stateOnRoot?: boolean;
}

/** How a program inside ended. */
export interface Ran {
  /** Exit status; -1 when a signal ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  deadlineMs?: number;
  input?: string;
  /** Uid and gid with these further groups; root when absent. */
  as?: { uid: number; groups?: readonly number[] };
}

/** A Debian with systemd as PID 1. */
export interface Container {
  /** The host's number of its PID 1. */
  pid(): number;
  /** Runs a program inside and waits for its end, whatever that is. Rejects after the deadline. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
  /** The same; rejects unless it ends with 0. Returns what it wrote. */
  ok(argv: readonly string[], options?: RunOptions): Promise<string>;
  /** Starts a program inside whose streams the caller has. It ends with the machine. */
  spawn(argv: readonly string[]): ChildProcess;
  /** Copies a file or folder of the host to a path inside. */
  copyIn(from: string, to: string): void;
  /** Writes a file inside. */
  write(path: string, text: string): void;
  /** SIGKILL of PID 1: everything inside ends at once. */
  kill(): Promise<void>;
  /** Boots again on the same disk and state. */
  start(): Promise<void>;
  /** An orderly stop. */
  stop(): Promise<void>;
  /** The name of its cgroup on the host. */
  group: string;
  /** The folder on the host that holds its disk and state. */
  place: string;
}

/** The host's cgroup2 mount, or undefined. */
function cgroupMount(): string | undefined {
  const lines = parseMountinfo(readFileSync('/proc/self/mountinfo', 'latin1'));
  return lines.find(({ type }) => type === 'cgroup2')?.at;
}

/** Why this machine cannot boot a container, or undefined. For `when(...)`. */
export function lackingContainer(): string | undefined {
  if (cgroupMount() === undefined) return 'cgroup version 2 is not mounted';
  return lackingDebianRoot();
}

/** What `when(...)` must be given for tests with containers. */
export const containerNeeds = {
  root: true,
  tools: ['mmdebstrap', 'unshare', 'nsenter', 'setpriv'],
  other: lackingContainer,
};

/** Removes an empty group with what is below it, when its processes have left. */
async function removeGroup(folder: string): Promise<void> {
  const end = performance.now() + stopMs;
  for (;;) {
    try {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).reverse())
        if (existsSync(join(folder, name, 'cgroup.procs'))) rmdirSync(join(folder, name));
      rmdirSync(folder);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      if (performance.now() > end) throw error;
      await pause(pollMs);
    }
  }
}

/** Groups of test processes that were killed. */
async function sweepGroups(mount: string): Promise<void> {
  for (const name of readdirSync(mount)) {
    const pid = /^personad-container-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await removeGroup(join(mount, name));
  }
}

/** One life of PID 1, from boot to its end. */
interface Life {
  pid: number;
  ended: Promise<unknown>;
}

async function begin(folder: string, root: string, place: string): Promise<Life> {
  mkdirSync(folder);
  // The test's death ends the machine: its own, its death that of unshare, that of unshare PID 1.
  const args = ['--pdeathsig', 'KILL', '--', program, 'outside', folder, root, place];
  const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (piece) => {
      said = `${said}${piece}`.slice(-4_000);
    });
  const ended = once(child, 'close');
  const end = performance.now() + bootMs;
  for (;;) {
    const pid = firstChild(child.pid ?? -1);
    const name = pid === undefined ? '' : readText(`/proc/${pid}/comm`);
    if (pid !== undefined && name === 'systemd\n') return { pid, ended };
    if (child.exitCode !== null || performance.now() > end)
      throw new Error(`the container did not start: ${said}`);
    await pause(pollMs);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function firstChild(pid: number): number | undefined {
  const [first] = readText(`/proc/${pid}/task/${pid}/children`).split(' ');
  return first === undefined || first === '' ? undefined : Number(first);
}

/** Arguments of nsenter for a program inside. */
function enter(pid: number, argv: readonly string[], as: RunOptions['as']): string[] {
  const namespaces = ['--mount', '--pid', '--ipc', '--uts', '--net', '--cgroup'];
  const clean = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C.UTF-8'];
  const groups = as?.groups?.length ? ['--groups', as.groups.join(',')] : ['--clear-groups'];
  const drop =
    as === undefined
      ? []
      : ['setpriv', '--reuid', `${as.uid}`, '--regid', `${as.uid}`, ...groups, '--'];
  return ['--target', `${pid}`, ...namespaces, '--wdns=/', '--', ...clean, ...drop, ...argv];
}

async function runInside(
  pid: number,
  argv: readonly string[],
  { deadlineMs = runMs, input = '', as }: RunOptions = {},
): Promise<Ran> {
  const signal = AbortSignal.timeout(deadlineMs);
  const child = spawn('nsenter', enter(pid, argv, as), { signal, killSignal: 'SIGKILL' });
  const texts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    texts.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    texts.stderr += text;
  });
  // Who does not read its input may close it.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new Error(`${argv.join(' ')}: ${error.message}\n${texts.stderr}`)),
    );
    child.once('close', (code) => resolve(code ?? -1));
  });
  return { status, ...texts };
}

async function untilRunning(pid: number): Promise<void> {
  const end = performance.now() + bootMs;
  let last = '';
  while (performance.now() < end) {
    last = (await runInside(pid, ['systemctl', 'is-system-running'])).stdout.trim();
    if (last === 'running') return;
    if (last === 'degraded') break;
    await pause(pollMs);
  }
  const { stdout } = await runInside(pid, ['systemctl', '--failed', '--plain', '--no-legend']);
  throw new Error(`the container did not come up: it is ${last}\n${stdout}`);
}

let containers = 0;

/**
 * Boots a Debian with systemd as PID 1 in mount, pid, ipc, uts, net and cgroup namespaces of its own, and waits until it is
 * running (about a second). It has its own device nodes, cannot set what is the host's, and has no network. Its disk is
 * an overlay of the cached root, its /var/lib/persona a folder of the host. It is gone after the test.
 */
export async function bootContainer(t: Scope, options: ContainerOptions): Promise<Container> {
  const root = await debianRoot({ suite: options.suite });
  const mount = cgroupMount();
  if (mount === undefined) throw new Error(lackingContainer());
  await sweepGroups(mount);
  const place = mkdtempSync(join(tmpdir(), 'personad-container-'));
  const group = `${groupPrefix}${process.pid}-${++containers}`;
  let life: Life | undefined;
  const alive = (): Life => {
    if (life === undefined) throw new Error('the container is not running');
    return life;
  };
  const gone = async () => {
    await life?.ended;
    life = undefined;
    await removeGroup(join(mount, group));
  };
  const kill = async () => {
    if (life !== undefined) process.kill(life.pid, 'SIGKILL');
    await gone();
  };
  const start = async () => {
    life = await begin(join(mount, group), root, place);
    await untilRunning(life.pid);
  };
  t.teardown(async () => {
    await kill();
    rmSync(place, { recursive: true, force: true });
  });
  chmodSync(place, 0o755);
  for (const name of ['disk', 'work', 'mnt']) mkdirSync(join(place, name), { mode: 0o755 });
  if (options.stateOnRoot !== true) mkdirSync(join(place, 'state'), { mode: 0o700 });
  const units = join(place, 'disk/etc/systemd/system');
  mkdirSync(units, { recursive: true, mode: 0o755 });
  for (const unit of masked) symlinkSync('/dev/null', join(units, unit));
  for (const [path, text] of Object.entries({ '/etc/hostname': 'machine\n', ...options.files })) {
    mkdirSync(dirname(join(place, 'disk', path)), { recursive: true, mode: 0o755 });
    writeFileSync(join(place, 'disk', path), text);
  }
  await start();
  const inside = (path: string) => join(`/proc/${alive().pid}/root`, path);
  return {
    group,
    place,
    pid: () => alive().pid,
    run: (argv, more) => runInside(alive().pid, argv, more),
    async ok(argv, more) {
      const { status, stdout, stderr } = await runInside(alive().pid, argv, more);
      if (status !== 0)
        throw new Error(`${argv.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
      return stdout;
    },
    spawn: (argv) => spawn('nsenter', enter(alive().pid, argv, undefined)),
    copyIn: (from, to) => cpSync(from, inside(to), { recursive: true, verbatimSymlinks: true }),
    write(path, text) {
      mkdirSync(dirname(inside(path)), { recursive: true, mode: 0o755 });
      writeFileSync(inside(path), text);
    },
    kill,
    start,
    async stop() {
      // SIGRTMIN+3: halt, as `systemctl halt` asks for it.
      process.kill(alive().pid, 37);
      const late = pause(stopMs, 'late', { ref: false });
      const how = await Promise.race([alive().ended, late]);
      if (how === 'late') await kill();
      else await gone();
      if (how === 'late') throw new Error('the container did not stop in time');
    },
  };
}
