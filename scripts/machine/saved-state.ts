/**
 * A machine that is up, kept as a file: a quick test goes on from it in seconds. NVMe disks cannot be saved, so the
 * saved machine has none; the daemon, which keeps its state there, is stopped in it.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dataDevice, dataPort, diskNode, files } from './qemu.ts';
import { type Ask, askQemu } from './qmp.ts';

const migrateMs = 60_000;

/** Files of a saved machine. */
export interface SavedState {
  /** The disk as it was then; qcow2. */
  root: string;
  /** Memory and devices. */
  state: string;
}

export const savedFiles = (folder: string): SavedState => ({
  root: join(folder, files.root),
  state: join(folder, 'state'),
});

/** Stops the machine behind the socket and writes its memory to `to`. It cannot run on. */
export function saveMemory(socket: string, to: string): Promise<void> {
  return askQemu(socket, async (ask) => {
    await ask('stop');
    await ask('migrate', { uri: `file:${to}` });
    await until(ask, 'query-migrate', 'completed', 'failed');
    await ask('quit').catch(() => undefined);
  });
}

/** Lets a machine that was started from a saved state run, and plugs its NVMe disk in. */
export function goOn(socket: string): Promise<void> {
  return askQemu(socket, async (ask) => {
    await until(ask, 'query-status', 'paused', 'internal-error');
    await ask('cont');
    await ask('blockdev-add', diskNode('data', files.dataTop));
    await ask('device_add', { ...dataDevice, bus: dataPort });
  });
}

async function until(ask: Ask, command: string, good: string, bad: string): Promise<void> {
  const untilMs = Date.now() + migrateMs;
  while (Date.now() < untilMs) {
    const { status } = (await ask(command)) as { status?: string };
    if (status === good) return;
    if (status === bad) throw new Error(`qemu: ${command}: ${bad}`);
    await sleep(20);
  }
  throw new Error(`qemu: ${command}: not ${good} after ${migrateMs / 1000} s`);
}
