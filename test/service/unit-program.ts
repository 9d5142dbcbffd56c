import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Installed } from './installed.ts';

/** Bundles a program of the tests as the installed daemon is, and puts it into the machine, for a unit to run. */
export async function putProgram(machine: Installed, source: string, place: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-program-'));
  const outfile = join(folder, 'program.mjs');
  try {
    await build({
      entryPoints: [source],
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'esm',
      define: { PERSONA_VERSION: '"test"' },
      external: ['koffi', 'sqlite3', 'diskusage'],
      banner: {
        js: "import { createRequire as testRequire } from 'node:module'; const require = testRequire(import.meta.url);",
      },
      logLevel: 'warning',
    });
    machine.copyIn(outfile, place);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
