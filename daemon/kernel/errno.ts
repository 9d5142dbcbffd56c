import { constants } from 'node:os';

/** Names that alias another number on Linux: the kernel documentation uses the kept spelling. */
const ALIASES = new Set(['EWOULDBLOCK', 'ENOTSUP', 'EDEADLOCK']);

const NAMES = new Map<number, string>(
  Object.entries(constants.errno)
    .filter(([name]) => !ALIASES.has(name))
    .map(([name, code]) => [code, name]),
);

/** Codes that mount and encryption calls answer and that node:os does not name (asm-generic/errno.h). */
const MORE: [number, string][] = [
  [15, 'ENOTBLK'],
  [65, 'ENOPKG'],
  [112, 'EHOSTDOWN'],
  [117, 'EUCLEAN'],
  [126, 'ENOKEY'],
];
for (const [code, name] of MORE) if (!NAMES.has(code)) NAMES.set(code, name);

/** The symbolic name of an errno value: 2 is `ENOENT`. An unknown value reads `E#123`. */
export function errnoName(code: number): string {
  return NAMES.get(code) ?? `E#${code}`;
}

/** A system call that failed: which one, with which errno, on what. */
export class KernelError extends Error {
  /** Symbolic errno, such as `EBUSY`; the same word node:fs puts there. */
  readonly code: string;
  readonly syscall: string;
  /** What the call was about, for people: a path, or the kernel's own words from a file system context. */
  readonly detail: string;

  constructor(syscall: string, code: string, detail = '') {
    super(`cannot ${syscall}${detail === '' ? '' : ` ${detail}`}: ${code}`);
    this.name = 'KernelError';
    this.code = code;
    this.syscall = syscall;
    this.detail = detail;
  }
}

/** True when `error` carries one of these errno names (a KernelError, or an error of node:fs). */
export function failedWith(error: unknown, ...codes: string[]): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && codes.includes(code);
}

/** The same failure with more said about what it concerned. Errors of other kinds pass unchanged. */
export function withDetail(error: unknown, detail: string): unknown {
  return error instanceof KernelError ? new KernelError(error.syscall, error.code, detail) : error;
}
