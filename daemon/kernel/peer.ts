import type { Socket } from 'node:net';
import { failedWith } from './errno.ts';
import { declareInt } from './libc.ts';

const getsockopt = declareInt('getsockopt', ['int', 'int', 'int', 'bytes', 'bytes']);

/** include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const UCRED_BYTES = 12;
/** NGROUPS_MAX of the kernel. */
const GROUPS_MAX = 65536;

/** Who is at the other end, as the kernel recorded it when the connection was made. */
export interface Peer {
  pid: number;
  uid: number;
  gid: number;
  /** Supplementary groups the process really holds (not what the group file says). */
  groups: number[];
}

/** node:net keeps the descriptor here; it is not documented, so this file is its only reader. */
function fdOf(socket: Socket): number {
  const handle = (socket as unknown as { _handle: { fd?: number } | null })._handle;
  const fd = handle?.fd ?? -1;
  if (fd < 0) throw new Error('internal error: the socket has no descriptor any more');
  return fd;
}

/** The value of a socket's SOL_SOCKET option: at most `bytes`. */
export function socketOption(fd: number, name: number, bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes);
  getsockopt(fd, SOL_SOCKET, name, value, length);
  return value.subarray(0, length.readUInt32LE(0));
}

function groupsOf(fd: number): number[] {
  for (let room = 64; room <= GROUPS_MAX; room *= 32) {
    try {
      const raw = socketOption(fd, SO_PEERGROUPS, room * 4);
      return Array.from({ length: raw.length / 4 }, (_, i) => raw.readUInt32LE(i * 4));
    } catch (error) {
      if (!failedWith(error, 'ERANGE')) throw error;
    }
  }
  return [];
}

/** The peer of a Unix socket. Call it in the connection event, before a byte is read. */
export function peerOf(socket: Socket): Peer {
  const fd = fdOf(socket);
  const raw = socketOption(fd, SO_PEERCRED, UCRED_BYTES);
  return {
    pid: raw.readInt32LE(0),
    uid: raw.readUInt32LE(4),
    gid: raw.readUInt32LE(8),
    groups: groupsOf(fd),
  };
}
