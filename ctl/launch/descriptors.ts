import { closeSync, readdirSync, readFileSync } from 'node:fs';

/** O_CLOEXEC of include/uapi/asm-generic/fcntl.h. */
const O_CLOEXEC = 0o2000000;

/**
 * Closes what the caller's shell left open beside the three standard streams, so that it does not reach
 * a program in a slot. Everything that Node itself opens is close-on-exec, and stays.
 */
export function closeInherited(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd < 3) continue;
    try {
      const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
      if ((Number.parseInt(flags?.[1] ?? '2000000', 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch {
      // Gone by itself: the descriptor that listed the folder.
    }
  }
}
