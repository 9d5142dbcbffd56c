import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const AF_UNIX = 1;
/** SOCK_DGRAM | SOCK_CLOEXEC of linux/net.h. */
const DATAGRAM = 2 | 0o2000000;
/** MSG_NOSIGNAL | MSG_DONTWAIT: a manager that does not read never stops the daemon. */
const QUIETLY = 0x4000 | 0x40;
/** sun_path of struct sockaddr_un. */
const PATH_BYTES_MAX = 108;

const socket = declareInt('socket', ['int', 'int', 'int']);
const sendto = declareInt('sendto', ['int', 'bytes', 'u64', 'int', 'bytes', 'uint']);

/** struct sockaddr_un: family, then the path; a leading `@` means the abstract name space. */
function addressOf(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length === 0 || name.length >= PATH_BYTES_MAX)
    throw new RangeError(`a socket path has 1 to ${PATH_BYTES_MAX - 1} bytes`);
  const abstract = name[0] === 0x40;
  if (abstract) name[0] = 0;
  const address = Buffer.alloc(2 + name.length + (abstract ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  return address;
}

/**
 * Tells the service manager the state of this process: `READY=1`, `STOPPING=1`, `WATCHDOG=1`,
 * `STATUS=...`, separated by newlines. Does nothing when `path` ($NOTIFY_SOCKET) is undefined.
 */
export function notifyManager(path: string | undefined, state: string): void {
  if (path === undefined || path === '') return;
  const address = addressOf(path);
  const text = Buffer.from(state);
  const fd = new Fd(socket(AF_UNIX, DATAGRAM, 0), 'notify socket');
  try {
    sendto(fd.number, text, text.length, QUIETLY, address, address.length);
  } finally {
    fd.close();
  }
}
