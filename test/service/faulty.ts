import { fileURLToPath } from 'node:url';
import type { Installed } from './installed.ts';
import { putProgram } from './unit-program.ts';

const source = fileURLToPath(new URL('./faulty-daemon.ts', import.meta.url));
const place = '/usr/lib/personad/dist/faulty.mjs';
const request = '/run/personad-fault';

/** What the daemon of the unit can be made to do at its next journal write, or at its start (`careless`). */
export type Fault = 'loop' | 'pool' | 'careless';

/** Has the unit run the daemon with a hook for faults, and a watchdog that does not wait long. */
export async function useFaultyDaemon(machine: Installed, watchdogSec: number): Promise<void> {
  await putProgram(machine, source, place);
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
