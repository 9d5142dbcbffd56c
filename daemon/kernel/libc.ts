import koffi from 'koffi';
import { errnoName, failedWith, KernelError } from './errno.ts';

/** C types a verb may take. `bytes` is memory the callee reads or fills; `text` ends in a NUL. */
export interface CTypes {
  int: number;
  uint: number;
  i64: number | bigint;
  u64: number | bigint;
  text: string | null;
  bytes: Uint8Array | null;
}

const SPELLING: Record<keyof CTypes, string> = {
  int: 'int',
  uint: 'unsigned int',
  i64: 'int64_t',
  u64: 'uint64_t',
  text: 'const char *',
  bytes: 'void *',
};

type Args<T extends readonly (keyof CTypes)[]> = { -readonly [K in keyof T]: CTypes[T[K]] };

/** One C function: called at once, or in the thread pool when it may block. */
export interface Verb<A extends unknown[]> {
  /** Returns what the function returned (>= 0), or throws KernelError with the errno of this thread. */
  (...args: A): number;
  /**
   * The same from a pool thread; the arguments' memory is held until the call has ended. Very rarely the errno it tells is EAGAIN in place
   * of the true one: koffi sets that thread's errno before it calls us back, and a collection of garbage in between leaves that of a
   * contended futex (measured under constant collection: one of 10^6 failures).
   */
  later(...args: A): Promise<number>;
  /** As `later`, for what may be done twice when it failed, and whose errno decides something: after EAGAIN it is called once more. */
  laterSurely(...args: A): Promise<number>;
}

const libc = koffi.load('libc.so.6');

/** Calls handed to koffi at one time. It refuses more than 256; the thread pool runs far fewer. */
const POOL_CALLS_MAX = 128;

/** Calls whose arguments must stay reachable: the collector must not free memory the kernel writes. */
const inFlight = new Set<unknown[]>();
/** Calls that wait for their turn. */
const queued: (() => void)[] = [];

/** Number of pool calls not yet ended; a test of leaks looks at it. */
export function callsInFlight(): number {
  return inFlight.size + queued.length;
}

type Raw = ((...args: unknown[]) => number | bigint) & {
  async: (...args: unknown[]) => void;
};

function verbOf<A extends unknown[]>(title: string, raw: Raw, fixed: unknown[]): Verb<A> {
  const check = (result: number | bigint, errno?: number): number => {
    if (result === -1) throw new KernelError(title, errnoName(errno ?? koffi.errno()));
    return Number(result);
  };
  const verb = (...args: A): number => check(raw(...fixed, ...args));
  const later = (...args: A): Promise<number> =>
    new Promise((resolve, reject) => {
      const ended = (failure: unknown, result: number | bigint) => {
        // koffi carries the pool thread's errno into this callback, and only until it returns: whatever else is done may change it.
        const errno = koffi.errno();
        inFlight.delete(args);
        try {
          if (failure !== null && failure !== undefined) throw failure;
          resolve(check(result, errno));
        } catch (error) {
          reject(error);
        }
        queued.shift()?.();
      };
      const start = () => {
        inFlight.add(args);
        raw.async(...fixed, ...args, ended);
      };
      if (inFlight.size < POOL_CALLS_MAX) start();
      else queued.push(start);
    });
  const laterSurely = (...args: A): Promise<number> =>
    later(...args).catch((error: unknown) => {
      if (failedWith(error, 'EAGAIN')) return later(...args);
      throw error;
    });
  return Object.assign(verb, { later, laterSurely });
}

/**
 * Binds a function of the C library that answers -1 and errno on failure.
 * @param name its symbol; @param types its parameters, in order. A wrong list is a crash: keep each beside its manual page.
 */
export function declare<const T extends readonly (keyof CTypes)[]>(
  name: string,
  types: T,
): Verb<Args<T>> {
  const spelled = types.map((type) => SPELLING[type]);
  const raw = libc.func(name, 'int64_t', spelled) as unknown as Raw;
  return verbOf(name, raw, []);
}

/** As `declare`, for a function whose C result is an `int`: its upper half is not defined. */
export function declareInt<const T extends readonly (keyof CTypes)[]>(
  name: string,
  types: T,
): Verb<Args<T>> {
  const spelled = types.map((type) => SPELLING[type]);
  const raw = libc.func(name, 'int', spelled) as unknown as Raw;
  return verbOf(name, raw, []);
}

/** Binds a system call the C library has no function for, by its number (asm-generic/unistd.h from 424 on). */
export function declareSyscall<const T extends readonly (keyof CTypes)[]>(
  name: string,
  number: number,
  types: T,
): Verb<Args<T>> {
  const spelled = ['long', ...types.map((type) => SPELLING[type])];
  const raw = libc.func('syscall', 'int64_t', spelled) as unknown as Raw;
  return verbOf(name, raw, [number]);
}

/** The address of a buffer's memory, for structures that carry pointers. The caller keeps the buffer alive. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** The `length` bytes at an address, without a copy. They must stay mapped for the life of the process. */
export function memoryAt(address: number, length: number): Buffer {
  return Buffer.from(koffi.view(BigInt(address), length));
}

/** Fails at load when the C type's size is not what the verb's byte offsets were written for. */
export function assertSize(what: string, type: string, size: number): void {
  const actual = koffi.sizeof(type);
  if (actual !== size) throw new Error(`internal error: ${what} has ${actual} bytes, not ${size}`);
}

assertSize('int', 'int', 4);
assertSize('long', 'long', 8);
assertSize('pointer', 'void *', 8);
if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
  throw new Error('internal error: the kernel verbs are written for little-endian machines');
}
