import type { MemoryProtection } from '../kernel/assurances.ts';
import type { ProcessNotes } from '../kernel/process-notes.ts';
import { processStat, statOf } from '../kernel/processes.ts';
import { protectionText, sameUserOf } from '../kernel/processor-protection.ts';
import { foldersOf, type Grant } from './secure-way.ts';

/** An application that was answered a plan to run apart, and the process that became it. */
export interface ApartProgram {
  app: string;
  pid: number;
  /** With `pid`, who it is: a reused number is another process. */
  startTime: number;
  uid: number;
  startedMs: number;
  enclave: string;
  /** How the enclave's files lie on the disk. */
  disk: string;
  grants: readonly Grant[];
  /** Version of Landlock that keeps it; 0: none. */
  landlock: number;
}

/** Applications of one user that run apart: more than anybody starts by hand. */
const perUserMax = 1024;

/** What an earlier daemon has noted; undefined when it is no such note. */
function noted(process: { pid: number; startTime: number; uid: number }, note: unknown) {
  const { app, enclave, disk, grants, landlock, startedMs } = note as ApartProgram;
  const texts = [app, enclave, disk].every((one) => typeof one === 'string');
  const numbers = [landlock, startedMs].every((one) => Number.isFinite(one));
  if (!texts || !numbers || !Array.isArray(grants)) return undefined;
  const { pid, startTime, uid } = process;
  return { pid, startTime, uid, app, enclave, disk, grants, landlock, startedMs };
}

/** Applications that run apart, from their start until they have ended, whichever daemon they were started by. Of each user only so many. */
export class ApartPrograms {
  #programs: ApartProgram[] = [];
  readonly #notes: ProcessNotes;

  constructor(notes: ProcessNotes) {
    this.#notes = notes;
  }

  /** Takes up those that an earlier daemon has started. */
  recover(): void {
    this.#programs = this.#notes.read().flatMap(({ process, note }) => noted(process, note) ?? []);
  }

  /** Those that run. */
  running(): readonly ApartProgram[] {
    this.#programs = this.#programs.filter((one) => {
      const runs = statOf(one) !== undefined;
      if (!runs) this.#notes.remove(one);
      return runs;
    });
    return this.#programs;
  }

  /** Why no more of this user may run apart, or undefined. */
  full(uid: number): string | undefined {
    const mine = (programs: readonly ApartProgram[]) =>
      programs.filter((one) => one.uid === uid).length >= perUserMax;
    return mine(this.#programs) && mine(this.running())
      ? `${perUserMax} of this user's run apart already`
      : undefined;
  }

  /** Takes up the process that is about to become one. False when it has gone. */
  add(program: Omit<ApartProgram, 'startTime'>): boolean {
    const found = processStat(program.pid);
    if (found === undefined || found.uid !== program.uid) return false;
    const { pid, uid, ...note } = program;
    const { startTime } = found;
    this.#notes.write({ pid, startTime }, note);
    this.#programs.push({ ...program, startTime });
    return true;
  }
}

const grantTexts: Record<Extract<Grant, string>, string> = {
  net: 'the network of the machine, and what listens on it: services of this machine too',
  display: 'the display: by X11 it can see and type into every window',
  wayland:
    'the display by Wayland: its own windows, and what the compositor offers to all: on some the clipboard, and pictures of the screen',
  sound: 'sound: it can hear microphones',
  gpu: 'the graphics devices and their drivers',
  bus: 'the session bus: it can ask every program of the session to act for it, and be out of its walls',
  agent: 'the SSH agent: it can sign in as the user',
};

/** From this version on it keeps programs from abstract sockets of others, and from signals to them. */
const scopedFrom = 6;

const landlockText = (version: number): string =>
  version === 0
    ? 'not used: this kernel has none'
    : `used (version ${version}): it reads what it is shown, and writes to its home, /tmp, /run and what it shares, whatever else became visible${version < scopedFrom ? '' : '; no abstract sockets, no signals to others'}`;

/** What was granted, each with what it amounts to. */
function grantedTexts(grants: readonly Grant[], landlock: number): string[] {
  const open = grants.includes('net') && landlock < scopedFrom;
  const given = Object.entries(grantTexts).filter(([name]) => grants.includes(name as 'net'));
  const folders = foldersOf(grants).map(
    ({ path, write }) => `${path}, to ${write ? 'read and write' : 'read'}`,
  );
  const sockets = open ? ['abstract sockets of the session, through the network'] : [];
  return [...given.map(([, text]) => text), ...sockets, ...folders];
}

/** Who an application is kept apart from by what, and from whom not: said as it is. Pure. */
export function assuranceOf(
  {
    uid,
    enclave,
    disk,
    grants,
    landlock,
  }: Pick<ApartProgram, 'uid' | 'enclave' | 'disk' | 'grants' | 'landlock'>,
  memory: MemoryProtection,
) {
  return {
    apart: [
      'files: of the machine it sees programs and some settings, to read; its home is the enclave, /tmp and /run are its own, in memory',
      'processes: it sees and signals its own only, and shares no memory and queues with others',
      ...(grants.includes('net') ? [] : ['network: it has none, and no abstract sockets']),
      'privileges: none can be won by starting a program (no_new_privs): sudo and other set-user-id helpers do not work in it',
      'system calls: mounts, namespaces, tracing, keys, and others with a history of holes are refused; 32-bit programs are ended',
      'environment: variables of known names only; descriptors: the three standard streams only, and the terminal behind them, into which it cannot type',
    ],
    granted: grantedTexts(grants, landlock),
    disk: `enclave ${enclave}: ${disk}`,
    hardware: memory.hardware,
    hardwareUsed: false as const,
    memory: memory.encryption,
    protection: protectionText(memory.processor),
    sameUser: sameUserOf(memory.ptraceScope, 'apart'),
    swap: memory.swap,
    landlock: landlockText(landlock),
    reach: [
      'root: everything',
      `other programs of uid ${uid}: the enclave at its path while it is open, the application's memory where the machine lets them trace it, what it shows and reads on the terminal`,
      `other applications whose home is enclave ${enclave}: all that is in it`,
      'the kernel: a hole in it is a hole in these walls',
      'other users: nothing',
    ],
  };
}
