import { PersonaError } from '../../ipc/errors.ts';
import { declareInt } from './libc.ts';
import { socketOption } from './peer.ts';

const getsockname = declareInt('getsockname', ['int', 'bytes', 'bytes']);

/** sd_listen_fds(3): the first descriptor that is passed. */
const FIRST_FD = 3;
/** More than any unit of ours has. */
const SOCKETS_MAX = 8;
/** include/uapi/asm-generic/socket.h and linux/socket.h */
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
/** sizeof(struct sockaddr_un), with room for the end of a path that fills it. */
const ADDRESS_BYTES = 111;

type Environment = Record<string, string | undefined>;

/** A listening socket that the service manager opened and keeps: restarts change neither its file nor its queue. */
export interface PassedSocket {
  fd: number;
  /** Where its file is. */
  path: string;
}

const bad = (reason: string) =>
  new PersonaError('bad-config', { file: 'the socket units', reason });

function numberOf(option: number, fd: number): number {
  return socketOption(fd, option, 4).readInt32LE(0);
}

/** The path a Unix socket is bound to. */
function boundPath(fd: number): string {
  const address = Buffer.alloc(ADDRESS_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(ADDRESS_BYTES);
  getsockname(fd, address, length);
  const path = address.subarray(2, Math.min(length.readUInt32LE(0), ADDRESS_BYTES));
  const end = path.indexOf(0);
  return path.toString('utf8', 0, end === -1 ? path.length : end);
}

function checked(fd: number, name: string): PassedSocket {
  const isListener =
    numberOf(SO_DOMAIN, fd) === AF_UNIX &&
    numberOf(SO_TYPE, fd) === SOCK_STREAM &&
    numberOf(SO_ACCEPTCONN, fd) === 1;
  if (!isListener) throw bad(`${name} is not a listening Unix stream socket`);
  return { fd, path: boundPath(fd) };
}

/**
 * Takes the listening sockets that the service manager passed to this very process (sd_listen_fds(3)), by the names their
 * units give them (FileDescriptorName=), and removes the variables that speak of them. Empty without a manager.
 * Throws `bad-config` when they are not what the units of this version pass.
 */
export function takePassedSockets(env: Environment): ReadonlyMap<string, PassedSocket> {
  const { LISTEN_PID: pid, LISTEN_FDS: count = '0', LISTEN_FDNAMES: names = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'])
    delete env[name];
  const passed = new Map<string, PassedSocket>();
  if (pid !== String(process.pid)) return passed;
  if (!(Number(count) <= SOCKETS_MAX)) throw bad(`${count} sockets were passed`);
  const named = names.split(':');
  for (let i = 0; i < Number(count); i += 1) {
    const name = named[i] ?? '';
    if (passed.has(name)) throw bad(`two sockets are named ${name}`);
    passed.set(name, checked(FIRST_FD + i, name));
  }
  return passed;
}
