/** Makes the saved state of an image once: a machine that is up, with the daemon stopped, from which tests go on. */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Image } from './base-image.ts';
import { cached, keyOf } from './cache.ts';
import { settleDisks } from './disks.ts';
import { runProgram } from './host-program.ts';
import { makeMachine } from './machine.ts';
import { files, qemuProgram } from './qemu.ts';
import { type SavedState, savedFiles, saveMemory } from './saved-state.ts';

const sources = ['qemu.ts', 'saved-machine.ts', 'saved-state.ts'];

/** Nothing of the daemon may be in the memory that is kept: it starts again on a disk of its own. */
const stopDaemon =
  'systemctl stop "personad*"; rm -rf /var/lib/persona/* /run/persona/slots/*; sync';

/** The saved state for `image`, made when it is not there. `say` hears about long work. */
export async function savedState(image: Image, say: (text: string) => void): Promise<SavedState> {
  const version = await runProgram([qemuProgram, '--version'], { deadlineMs: 10_000 });
  const contents = sources.map((name) => readFileSync(join(import.meta.dirname, name)));
  const key = keyOf(image.key, version, ...contents);
  const folder = await cached(`saved-${image.suite}`, key, async (making) => {
    say('starting a machine once, to go on from it later');
    await saveMachine(image, making);
  });
  return savedFiles(folder);
}

async function saveMachine(image: Image, folder: string): Promise<void> {
  const inner = join(folder, 'machine');
  const machine = await makeMachine(inner, { image, disk: '64M' });
  const saved = savedFiles(folder);
  try {
    await machine.boot({ withoutData: true, kernelArguments: ['fstab=no'] });
    await machine.must(stopDaemon, { deadlineMs: 120_000 });
    machine.disconnect();
    await saveMemory(join(inner, files.qemu), saved.state);
    await machine.cut();
    await settleDisks(inner);
    renameSync(join(inner, files.root), saved.root);
  } finally {
    await machine.cut();
    rmSync(inner, { recursive: true, force: true });
  }
}
