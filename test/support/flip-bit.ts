import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { run } from './needs.ts';

/** Turns one bit behind the daemon's back; size and time of the last change stay as they are. */
export function flipBit(path: string): void {
  const before = statSync(path, { bigint: true });
  run('cp', '--preserve=timestamps', path, `${path}.times`);
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  run('touch', '-r', `${path}.times`, path);
  rmSync(`${path}.times`);
  const after = statSync(path, { bigint: true });
  for (const what of ['ino', 'size', 'mtimeNs', 'mode'] as const)
    if (after[what] !== before[what]) throw new Error(`the file shows by ${what} that it changed`);
}
