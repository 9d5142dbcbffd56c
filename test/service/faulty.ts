import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Installed } from './installed.ts';

const source = fileURLToPath(new URL('./faulty-daemon.ts', import.meta.url));
const place = '/usr/lib/personad/dist/faulty.mjs';
const request = '/run/personad-fault';

/** What the daemon of the unit can be made to do at its next journal write, or at its start (`careless`). */
export type Fault = 'loop' | 'pool' | 'careless';

/** Bundled as the installed daemon is. */
async function bundle(out: string): Promise<void> {
  await build({
    entryPoints: [source],
    outfile: out,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    define: { PERSONA_VERSION: '"faulty"' },
    external: ['koffi', 'sqlite3', 'diskusage'],
    banner: {
      js: "import { createRequire as faultyRequire } from 'node:module'; const require = faultyRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
}

/** Has the unit run the daemon with a hook for faults, and a watchdog that does not wait long. */
export async function useFaultyDaemon(machine: Installed, watchdogSec: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-faulty-'));
  try {
    await bundle(join(folder, 'faulty.mjs'));
    machine.copyIn(join(folder, 'faulty.mjs'), place);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  machine.write(
    '/etc/systemd/system/personad.service.d/faulty.conf',
    `[Service]
ExecStart=
ExecStart=/usr/lib/personad/node --no-warnings ${place}
WatchdogSec=${watchdogSec}
`,
  );
  await machine.ok(['systemctl', 'daemon-reload']);
  await machine.ok(['systemctl', 'restart', 'personad.service']);
}

/** Asks for a fault, once. */
export function askFor(machine: Installed, fault: Fault): void {
  machine.write(request, fault);
}
