import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  begin,
  cgroupMount,
  enter,
  type Life,
  type Ran,
  type RunOptions,
  removeGroup,
  runInside,
  untilRunning,
} from './container-life.ts';
import { debianRoot, lackingDebianRoot, type Suite } from './debian-root.ts';

export type { Ran, RunOptions };

const stopMs = 20_000;
/** Groups and folders of containers are named by the process whose they are. */
const namePrefix = 'personad-container-';

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

/** What test processes that were killed have left. */
async function sweep(mount: string): Promise<void> {
  const ended = (name: string): boolean => {
    const pid = /^personad-container-(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  for (const name of readdirSync(mount).filter(ended)) await removeGroup(join(mount, name));
  for (const name of readdirSync(tmpdir()).filter(ended))
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

/** The folder that holds the machine's disk and state. */
function makePlace({ files, stateOnRoot }: ContainerOptions): string {
  const place = mkdtempSync(join(tmpdir(), `${namePrefix}${process.pid}-`));
  chmodSync(place, 0o755);
  for (const name of ['disk', 'work', 'mnt']) mkdirSync(join(place, name), { mode: 0o755 });
  if (stateOnRoot !== true) mkdirSync(join(place, 'state'), { mode: 0o700 });
  const units = join(place, 'disk/etc/systemd/system');
  mkdirSync(units, { recursive: true, mode: 0o755 });
  for (const unit of masked) symlinkSync('/dev/null', join(units, unit));
  for (const [path, text] of Object.entries({ '/etc/hostname': 'machine\n', ...files })) {
    mkdirSync(dirname(join(place, 'disk', path)), { recursive: true, mode: 0o755 });
    writeFileSync(join(place, 'disk', path), text);
  }
  return place;
}

/** The ways from one life to the next. */
function livesOf(folder: string, root: string, place: string) {
  let life: Life | undefined;
  const alive = (): Life => {
    if (life === undefined) throw new Error('the container is not running');
    return life;
  };
  const gone = async () => {
    await life?.ended;
    life = undefined;
    await removeGroup(folder);
  };
  const kill = async () => {
    if (life !== undefined) process.kill(life.pid, 'SIGKILL');
    await gone();
  };
  const start = async () => {
    life = await begin(folder, root, place);
    await untilRunning(life.pid);
  };
  const stop = async () => {
    // SIGRTMIN+3: halt, as `systemctl halt` asks for it.
    process.kill(alive().pid, 37);
    const late = pause(stopMs, 'late', { ref: false });
    const how = await Promise.race([alive().ended, late]);
    await (how === 'late' ? kill() : gone());
    if (how === 'late') throw new Error('the container did not stop in time');
  };
  return { alive, kill, start, stop };
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
  await sweep(mount);
  const place = makePlace(options);
  const group = `${namePrefix}${process.pid}-${++containers}`;
  const { alive, kill, start, stop } = livesOf(join(mount, group), root, place);
  t.teardown(async () => {
    await kill();
    rmSync(place, { recursive: true, force: true });
  });
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
    stop,
  };
}
