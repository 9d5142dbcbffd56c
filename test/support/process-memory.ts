import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** Bytes read at a time. */
const piece = 4 * 1024 ** 2;

/** How often `text` stands in the readable memory of a process. */
export function timesInMemory(pid: number, text: string): number {
  const wanted = Buffer.from(text);
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const bytes = Buffer.alloc(piece + wanted.length - 1);
  let times = 0;
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
      if (from === '') continue;
      const end = BigInt(`0x${to}`);
      for (let at = BigInt(`0x${from}`); at < end; at += BigInt(piece)) {
        const room = end - at;
        const length = room < bytes.length ? Number(room) : bytes.length;
        times += count(bytes.subarray(0, readAt(memory, bytes, length, at)), wanted);
      }
    }
  } finally {
    closeSync(memory);
  }
  return times;
}

/** Mappings of the kernel's own cannot be read. */
function readAt(memory: number, bytes: Buffer, length: number, at: bigint): number {
  try {
    return readSync(memory, bytes, 0, length, at);
  } catch {
    return 0;
  }
}

function count(bytes: Buffer, wanted: Buffer): number {
  let times = 0;
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) times += 1;
  return times;
}
