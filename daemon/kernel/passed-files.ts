import { Fd } from './fd.ts';
import { addressOf, declareInt } from './libc.ts';

const socketpair = declareInt('socketpair', ['int', 'int', 'int', 'bytes']);
const sendmsg = declareInt('sendmsg', ['int', 'bytes', 'int']);
const recvmsg = declareInt('recvmsg', ['int', 'bytes', 'int']);

/** include/linux/socket.h, include/linux/net.h */
const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Open files of one message; the kernel takes no more than 253. */
export const PASSED_MAX = 250;

/** sizeof(struct msghdr), of struct cmsghdr; both with pointers of 8 bytes. */
const MESSAGE_BYTES = 56;
const HEADER_BYTES = 16;

/** A message of one byte, with room for the descriptors of this many files. The parts must live as long as the call. */
function messageOf(files: number) {
  const byte = Buffer.alloc(1);
  const part = Buffer.alloc(16);
  part.writeBigUInt64LE(addressOf(byte), 0);
  part.writeBigUInt64LE(1n, 8);
  const length = HEADER_BYTES + 4 * files;
  const control = Buffer.alloc(Math.ceil(length / 8) * 8);
  control.writeBigUInt64LE(BigInt(length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  const message = Buffer.alloc(MESSAGE_BYTES);
  message.writeBigUInt64LE(addressOf(part), 16);
  message.writeBigUInt64LE(1n, 24);
  if (files > 0) {
    message.writeBigUInt64LE(addressOf(control), 32);
    message.writeBigUInt64LE(BigInt(control.length), 40);
  }
  return { message, control, parts: [byte, part] };
}

/** Two ends of a channel by which a parent hands open files to a child that runs already. */
export function fileChannel(): [parent: Fd, child: Fd] {
  const pair = Buffer.alloc(8);
  socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
  const end = (at: number) => new Fd(pair.readInt32LE(at), 'a channel of files');
  return [end(0), end(4)];
}

/** Hands open files over, all at once: the other end has them, whatever becomes of ours. Throws rather than wait. */
export function passFiles(channel: Fd, files: readonly Fd[]): void {
  if (files.length > PASSED_MAX) throw new Error(`internal error: ${files.length} files at once`);
  const { message, control, parts } = messageOf(files.length);
  for (const [index, { number }] of files.entries())
    control.writeInt32LE(number, HEADER_BYTES + 4 * index);
  sendmsg(channel.number, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  parts.length = 0;
}

/** Takes the files of one message that was sent before. Throws when there is none. */
export function takeFiles(channel: Fd, what: string): Fd[] {
  const { message, control, parts } = messageOf(PASSED_MAX);
  recvmsg(channel.number, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  parts.length = 0;
  const bytes = Number(message.readBigUInt64LE(40));
  if (bytes < HEADER_BYTES) return [];
  const count = (Number(control.readBigUInt64LE(0)) - HEADER_BYTES) / 4;
  return Array.from(
    { length: count },
    (_, index) => new Fd(control.readInt32LE(HEADER_BYTES + 4 * index), what),
  );
}
