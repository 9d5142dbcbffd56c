import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { RunOptions } from '../../../scripts/machine/guest-command.ts';
import type { Machine } from '../../../scripts/machine/machine.ts';

const sources = fileURLToPath(new URL('../guest/', import.meta.url));
const folder = '/opt/tests';

/** The daemon's own runtime: there is no other Node in a guest. */
const node = '/usr/lib/personad/node';

/** The words that start a guest program (a file of test/system/guest) once `putPrograms` has brought it. */
export const program = (name: string): string[] => [node, '--no-warnings', `${folder}/${name}.mjs`];

/** Brings programs into the guest, each as one file with everything that it imports. */
export async function putPrograms(vm: Machine, ...names: string[]): Promise<void> {
  const made = mkdtempSync(join(tmpdir(), 'personad-guest-'));
  try {
    await build({
      entryPoints: names.map((name) => join(sources, `${name}.ts`)),
      outdir: made,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      external: ['ava', 'koffi', 'sqlite3'],
    });
    // Every user of the guest runs them.
    chmodSync(made, 0o755);
    await vm.put(made, folder);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

/** What a guest program prints as JSON. When it prints something else, the error has all that it said, and how it ended. */
export async function answerOf<T>(
  vm: Machine,
  words: readonly string[],
  options: RunOptions,
): Promise<T> {
  const { status, stdout, stderr } = await vm.run(words, options);
  try {
    if (status === 0) return JSON.parse(stdout) as T;
  } catch {
    // It says so below.
  }
  throw new Error(
    `in the guest: ${words.join(' ')}: status ${status}, ${stdout.length} characters of output\n${stdout}\n${stderr}`,
  );
}
