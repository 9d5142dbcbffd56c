import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { files } from './qemu.ts';

/** What a kernel writes when its memory can no longer be trusted. */
const broken = /\bOops\b|\bBUG:|general protection|kernel BUG at|double fault|Kernel panic/;

const linesAround = 12;

/** Everything that the guest's kernel wrote to its console, over all starts. */
export function consoleText(folder: string): string {
  const path = join(folder, files.console);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** The lines about a failure of the guest's kernel, or undefined when it wrote of none. */
export function kernelFailure(text: string): string | undefined {
  const lines = text.split(/\r?\n/);
  const at = lines.findIndex((line) => broken.test(line));
  return at < 0 ? undefined : lines.slice(at, at + linesAround).join('\n');
}
