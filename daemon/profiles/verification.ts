import {
  type NamespaceKind,
  type Namespaces,
  namespaceKinds,
  type ProcessWalls,
} from '../kernel/process-walls.ts';
import type { Weights } from '../kernel/scope-unit.ts';
import type { FileNumbers } from './layer.ts';
import type { RunningApplication } from './running.ts';

/** One thing that was looked at. `unknown`: this machine or this daemon cannot tell. */
export interface ProfileCheck {
  name: 'group' | 'weights' | 'program' | 'memory' | 'walls';
  state: 'holds' | 'fails' | 'unknown';
  detail: string;
}

/** What an application was started with, as the daemon knows it. */
export interface Wanted extends Pick<RunningApplication, 'profile' | 'violation' | 'weights'> {
  /** The process that was started, if it is still that one. */
  pid?: number;
  /** Folders that are to be seen from memory, each with the file system (`major:minor`); undefined where no memory serves it. */
  served?: readonly { at: string; device: string }[] | undefined;
  /** How it runs apart, where that is known. */
  apart?: { net: boolean; device: string | undefined } | undefined;
  /** Which of the application's own files this is; absent where the application is not known by its file. */
  ownFile?: ((program: ProcessWalls['program']) => OwnFile | undefined) | undefined;
}

/** One of the files that an application is started by. */
export interface OwnFile {
  path: string;
  /** It is not what lies at its path by now, or lies where the daemon looks at nothing. */
  unseen?: string;
  /** Who can change it besides root. */
  changers?: string | undefined;
}

/** What the kernel says of its group. */
export interface SeenGroup {
  /** All of its processes, */
  pids: readonly number[];
  /** and those of them that were looked at. */
  processes: readonly ProcessWalls[];
  /** A knob, or undefined where the group has none. */
  knob(name: string): string | undefined;
}

/** What the walls are compared with. */
export interface Ground {
  machine: Namespaces;
  /** The program that makes sandboxes, and waits outside of each; undefined where there is none. */
  sandbox: FileNumbers | undefined;
}

type Finding = Pick<ProfileCheck, 'state' | 'detail'>;
const holds = (detail: string): Finding => ({ state: 'holds', detail });
const fails = (detail: string): Finding => ({ state: 'fails', detail });
const unknown = (detail: string): Finding => ({ state: 'unknown', detail });

function groupOf({ pid }: Wanted, { pids }: SeenGroup): Finding {
  if (pid !== undefined && !pids.includes(pid))
    return fails(`process ${pid}, which was started, is outside of it`);
  return holds(pids.length === 1 ? 'one process' : `${pids.length} processes`);
}

const knobs: readonly [keyof Weights, knob: string][] = [
  ['cpuWeight', 'cpu.weight'],
  ['ioWeight', 'io.weight'],
  ['memoryLow', 'memory.low'],
];

/** The largest pages of all kernels: memory is set in whole ones. */
const PAGE_MAX = 65_536;

function same(file: string, wanted: number, text: string): boolean {
  const value = Number(text.replace(/^default /, ''));
  return file === 'memory.low' ? Math.abs(value - wanted) < PAGE_MAX : value === wanted;
}

function weightsOf({ weights }: Wanted, { knob }: SeenGroup): Finding {
  if (weights === undefined) return unknown('what it was to have is not known any more');
  const wanted = knobs.flatMap(([name, file]) =>
    weights[name] === undefined ? [] : [{ file, value: weights[name] }],
  );
  if (wanted.length === 0) return holds('as everybody has');
  const seen = wanted.map((one) => ({ ...one, text: knob(one.file) }));
  const missing = seen.flatMap(({ file, text }) => (text === undefined ? [file] : []));
  const wrong = seen.find(
    ({ file, value, text }) => text !== undefined && !same(file, value, text),
  );
  if (wrong) return fails(`${wrong.file} is ${wrong.text}, not ${wrong.value}`);
  if (missing.length > 0) return unknown(`the group has no ${missing.join(', ')}`);
  return holds(seen.map(({ file, value }) => `${file} ${value}`).join(', '));
}

/** A script is run by another program: that none of its files is found among what runs is no fault. */
function programOf(ownFile: NonNullable<Wanted['ownFile']>, { processes }: SeenGroup): Finding {
  const own = processes.flatMap(({ pid, program }) => {
    const file = ownFile(program);
    return file === undefined ? [] : [{ pid, ...file }];
  });
  const bad = own.find(({ changers }) => changers !== undefined);
  if (bad) return fails(`process ${bad.pid} runs ${bad.path}, which ${bad.changers} can change`);
  const [unseen] = own.flatMap((one) => (one.unseen === undefined ? [] : [one.unseen]));
  if (unseen !== undefined) return unknown(unseen);
  const paths = [...new Set(own.map(({ path }) => path))];
  if (paths.length === 0)
    return unknown('none of its processes is known to run one of its own files');
  return holds(`${paths.join(', ')}, which root alone can change`);
}

/** The file system that a process sees at a path. */
const deviceAt = ({ mounts }: ProcessWalls, at: string): string | undefined =>
  mounts.findLast((one) => one.at === at)?.device;

/** True for the sandbox itself, which waits outside of what it has made. */
const isSandbox = ({ program }: ProcessWalls, { sandbox }: Ground): boolean =>
  program.device === sandbox?.device && program.inode === sandbox.inode;

function memoryOf({ served }: Wanted, { processes }: SeenGroup, ground: Ground): Finding {
  if (served === undefined) return fails('none of its folders lies in memory');
  const inside = processes.filter((one) => !isSandbox(one, ground));
  if (inside.length === 0) return unknown('nothing works in them yet');
  for (const { at, device } of served)
    for (const one of inside)
      if (deviceAt(one, Buffer.from(at).toString('latin1')) !== device)
        return fails(`process ${one.pid} does not see ${at} from memory`);
  return holds(`every process sees ${served.map(({ at }) => at).join(', ')} from memory`);
}

/** What is missing around one process. */
function gapsOf(one: ProcessWalls, { apart }: Wanted, { machine }: Ground): string[] {
  const shared = (kind: NamespaceKind) => one.namespaces[kind] === machine[kind];
  const gaps = namespaceKinds
    .filter((kind) => shared(kind) && !(kind === 'net' && apart?.net !== false))
    .map((kind) => `shares the ${kind} namespace of the machine`);
  if (!one.noNewPrivs) gaps.push('can win privileges');
  if (!one.filtered) gaps.push('has no filter of system calls');
  if (one.capable) gaps.push('has capabilities');
  const device = apart?.device;
  if (device !== undefined && !one.mounts.some((mount) => mount.device === device))
    gaps.push('does not see its enclave');
  return gaps;
}

/** Whoever is among the machine's own processes is to be the sandbox itself, waiting for what is in it. */
function wallsOf(wanted: Wanted, { processes }: SeenGroup, ground: Ground): Finding {
  const { machine } = ground;
  const isOutside = ({ namespaces }: ProcessWalls) => namespaces.pid === machine.pid;
  const stranger = processes.find((one) => isOutside(one) && !isSandbox(one, ground));
  if (stranger)
    return fails(`process ${stranger.pid} (${stranger.program.path}) is outside of them`);
  const inside = processes.filter((one) => !isOutside(one));
  for (const one of inside) {
    const gaps = gapsOf(one, wanted, ground);
    if (gaps.length > 0) return fails(`process ${one.pid} ${gaps.join(', ')}`);
  }
  if (inside.length === 0) return unknown('nothing is inside of them yet');
  const nets = inside.some(({ namespaces }) => namespaces.net === machine.net);
  if (nets && wanted.apart === undefined)
    return unknown('it has the network; whether that was granted is not known any more');
  const net = nets ? ', the network granted' : '';
  return holds(`${inside.length} inside: own namespaces, filter, no privileges${net}`);
}

/** Whether an application runs as its profile says, by what the kernel says of it. Pure. */
export function verified(wanted: Wanted, seen: SeenGroup, ground: Ground): ProfileCheck[] {
  const { profile, violation, ownFile } = wanted;
  const checks: ProfileCheck[] = [
    { name: 'group', ...groupOf(wanted, seen) },
    { name: 'weights', ...weightsOf(wanted, seen) },
  ];
  if (ownFile !== undefined) checks.push({ name: 'program', ...programOf(ownFile, seen) });
  if (profile === 'fast') checks.push({ name: 'memory', ...memoryOf(wanted, seen, ground) });
  if (profile === 'secure') checks.push({ name: 'walls', ...wallsOf(wanted, seen, ground) });
  if (violation !== undefined) checks.push({ name: 'walls', ...fails(violation) });
  return checks;
}
