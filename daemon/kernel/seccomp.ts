import { constants } from 'node:os';
import { type CallName, callNumbers } from './seccomp-calls.ts';

/** Machines a filter can be made for, as node names them. */
export type Machine = 'x64' | 'arm64';

/** AUDIT_ARCH_* of include/uapi/linux/audit.h. */
const AUDIT_ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
/** The 32-bit face of the same machine, and its number of ioctl. */
const COMPAT = { x64: { arch: 0x40000003, ioctl: 54 }, arm64: { arch: 0x40000028, ioctl: 54 } };
/** Calls of the x32 face carry this bit; it has its own number of ioctl. */
const X32_BIT = 0x40000000;
const X32_IOCTL = 514;

/** Offsets in struct seccomp_data (include/uapi/linux/seccomp.h): nr, arch, then the arguments from 16 on. */
const AT_NUMBER = 0;
const AT_ARCH = 4;
const atArgument = (index: number) => 16 + index * 8;

/** SECCOMP_RET_* */
const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const fail = (errno: number) => 0x00050000 | errno;

/** BPF opcodes of include/uapi/linux/bpf_common.h, combined. */
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

/** CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET} of include/uapi/linux/sched.h. */
const CLONE_NEW_ANY =
  0x80 | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000;
/** include/uapi/asm-generic/ioctls.h: push characters into a terminal's input; paste on a console. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

interface Instruction {
  code: number;
  jt?: number;
  jf?: number;
  k: number;
}

const load = (offset: number): Instruction => ({ code: LOAD, k: offset });
const answer = (k: number): Instruction => ({ code: RETURN, k });
/** Answers `k` when the loaded word equals `value`, else goes on. */
const whenEqual = (value: number, k: number): Instruction[] => [
  { code: JUMP_EQUAL, jt: 0, jf: 1, k: value },
  answer(k),
];

function assemble(program: Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [i, { code, jt = 0, jf = 0, k }] of program.entries()) {
    bytes.writeUInt16LE(code, i * 8);
    bytes.writeUInt8(jt, i * 8 + 2);
    bytes.writeUInt8(jf, i * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, i * 8 + 4);
  }
  return bytes;
}

function machineHere(): Machine {
  if (process.arch === 'x64' || process.arch === 'arm64') return process.arch;
  throw new Error(`internal error: no system call table for ${process.arch}`);
}

const EPERM = constants.errno.EPERM;
const ENOSYS = constants.errno.ENOSYS;

/** Calls that answer ENOSYS: programs then take their older way, which the filter can see into. */
const ABSENT: readonly CallName[] = ['clone3'];
/** Calls judged by an argument, further down. */
const JUDGED: readonly CallName[] = ['clone', 'ioctl'];

/**
 * The filter of confined children (SECURITY 9), as bytes for bwrap's --seccomp: no mounts, namespaces, sockets,
 * tracing, keys, kernel interfaces with a history of holes, and no input pushed into terminals. A call by
 * another face of the machine (32 bit, x32) kills the process.
 */
export function confinedFilter(machine: Machine = machineHere()): Buffer {
  return callFilter(machine, new Set());
}

/** What applications need of the calls that readers of foreign files do not: sockets, shared memory, queues, handles of processes. */
const OF_APPLICATIONS: ReadonlySet<CallName> = new Set([
  'socket',
  'shmget',
  'shmat',
  'semget',
  'msgget',
  'mq_open',
  'pidfd_open',
  'pidfd_send_signal',
  'kcmp',
  'name_to_handle_at',
  'memfd_secret',
]);

/**
 * The filter of applications that are kept apart: no mounts, namespaces, tracing, keys, and nothing else that the one of confined children
 * refuses but what applications need.
 */
export function applicationFilter(machine: Machine = machineHere()): Buffer {
  return callFilter(machine, OF_APPLICATIONS);
}

function callFilter(machine: Machine, allowed: ReadonlySet<CallName>): Buffer {
  const column = machine === 'x64' ? 0 : 1;
  const program: Instruction[] = [
    load(AT_ARCH),
    { code: JUMP_EQUAL, jt: 1, jf: 0, k: AUDIT_ARCH[machine] },
    answer(KILL_PROCESS),
    load(AT_NUMBER),
  ];
  if (machine === 'x64') {
    program.push({ code: JUMP_AT_LEAST, jt: 0, jf: 1, k: X32_BIT }, answer(KILL_PROCESS));
  }
  for (const [name, numbers] of Object.entries(callNumbers)) {
    const number = numbers[column];
    if (number === null || number === undefined || JUDGED.includes(name as CallName)) continue;
    if (allowed.has(name as CallName)) continue;
    program.push(...whenEqual(number, fail(ABSENT.includes(name as CallName) ? ENOSYS : EPERM)));
  }
  program.push(
    // clone: flags are its first argument; a new namespace of any kind is refused, threads are not.
    { code: JUMP_EQUAL, jt: 0, jf: 4, k: callNumbers.clone[column] },
    load(atArgument(0)),
    { code: JUMP_ANY_BIT, jt: 0, jf: 1, k: CLONE_NEW_ANY },
    answer(fail(EPERM)),
    answer(ALLOW),
    ...ioctlRule(callNumbers.ioctl[column]),
    answer(ALLOW),
  );
  return assemble(program);
}

/** ioctl: the request is its second argument, of which the kernel looks at the lower 32 bits. */
function ioctlRule(number: number): Instruction[] {
  return [
    { code: JUMP_EQUAL, jt: 0, jf: 5, k: number },
    load(atArgument(1)),
    ...whenEqual(TIOCSTI, fail(EPERM)),
    ...whenEqual(TIOCLINUX, fail(EPERM)),
    // Falls through with the request loaded: no request equals a number compared later on.
  ];
}

/**
 * The filter for programs of a slot that keep the caller's terminal: refuses to push characters into its input
 * (TIOCSTI) and to paste on a console (TIOCLINUX), by every face of the machine; allows all else.
 */
export function terminalFilter(machine: Machine = machineHere()): Buffer {
  const column = machine === 'x64' ? 0 : 1;
  const numbers: number[] = [callNumbers.ioctl[column]];
  if (machine === 'x64') numbers.push((X32_BIT | X32_IOCTL) >>> 0, (X32_BIT | 16) >>> 0);
  const compat = COMPAT[machine];
  const judge = [
    load(atArgument(1)),
    ...whenEqual(TIOCSTI, fail(EPERM)),
    ...whenEqual(TIOCLINUX, fail(EPERM)),
    answer(ALLOW),
  ];
  const native: Instruction[] = [load(AT_NUMBER)];
  for (const [i, number] of numbers.entries()) {
    native.push({ code: JUMP_EQUAL, jt: numbers.length - i, jf: 0, k: number });
  }
  native.push(answer(ALLOW));
  return assemble([
    load(AT_ARCH),
    { code: JUMP_EQUAL, jt: 0, jf: native.length + judge.length, k: AUDIT_ARCH[machine] },
    ...native,
    ...judge,
    { code: JUMP_EQUAL, jt: 1, jf: 0, k: compat.arch },
    answer(ALLOW),
    load(AT_NUMBER),
    { code: JUMP_EQUAL, jt: 1, jf: 0, k: compat.ioctl },
    answer(ALLOW),
    ...judge,
  ]);
}
