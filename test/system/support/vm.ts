/**
 * Virtual machines for tests: made for one test or one file, gone with it. Where the machine of the developer cannot
 * run them, `when(test, needsVm)` skips with the reason.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext, TestFn } from 'ava';
import { machineFolder } from '../../../scripts/machine/cache.ts';
import { guestImage } from '../../../scripts/machine/guest-image.ts';
import { type Machine, makeMachine } from '../../../scripts/machine/machine.ts';
import type { Suite } from '../../../scripts/machine/packages.ts';
import { savedState } from '../../../scripts/machine/saved-machine.ts';
import type { Needs } from '../../support/needs.ts';
import { builtPackage } from '../../support/package.ts';

const qemuMajorMin = 10;
const folderPrefix = 'personad-vm-';

/** What a test with a virtual machine needs. */
export const needsVm: Needs = {
  root: true,
  tools: ['qemu-system-x86_64', 'qemu-img', 'mmdebstrap', 'mke2fs', 'setpriv', 'flock', 'cpio'],
  other() {
    if (process.arch !== 'x64') return `needs x64, this is ${process.arch}`;
    const text = execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
    const major = Number(/version (\d+)\./.exec(text)?.[1] ?? 0);
    return major < qemuMajorMin ? `needs qemu ${qemuMajorMin}, this is ${major}` : undefined;
  },
};

export interface VmOptions {
  /** The release of Debian in it; trixie unless said. */
  suite?: Suite;
  /** Size of the NVMe disk for /var/lib/persona; 2G unless said. */
  disk?: string;
  /** Go on from a saved machine: seconds instead of a cold boot. */
  snapshot?: boolean;
  /** The socket of an emulated TPM for its first start. */
  tpm?: string;
  /** Packages that only this machine has. */
  packages?: readonly string[];
}

/** A machine that is up, for this one test. */
export async function bootVm(t: ExecutionContext, options: VmOptions = {}): Promise<Machine> {
  const machine = await makeVm(options);
  t.teardown(() => endVm(machine, t.title, t.passed));
  await machine.boot(options.tpm === undefined ? {} : { tpm: options.tpm });
  return machine;
}

/** A machine for all tests of a file: it is up before the first, and gone after the last. */
export function fileVm(test: TestFn, options: VmOptions = {}): () => Machine {
  let machine: Machine | undefined;
  let passed = true;
  test.serial.before('the machine starts', async (t) => {
    t.timeout(15 * 60_000, 'the machine, its image and its start');
    machine = await makeVm(options);
    await machine.boot();
  });
  test.serial.afterEach.always((t) => {
    passed &&= t.passed;
  });
  test.serial.after.always('the machine ends', async (t) => {
    if (machine !== undefined) await endVm(machine, t.title, passed && machine.state !== 'off');
  });
  return () => {
    if (machine === undefined) throw new Error('the machine did not start');
    return machine;
  };
}

/** What machines of a release start from. It takes minutes to make, and is kept. */
export async function startOf(suite: Suite, snapshot = false, packages: readonly string[] = []) {
  const image = await guestImage(suite, await builtPackage(), console.log, packages);
  return { image, saved: snapshot ? await savedState(image, console.log) : undefined };
}

async function makeVm({ suite = 'trixie', disk, snapshot, packages }: VmOptions): Promise<Machine> {
  // A test that outlives its runner would keep its machine.
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  const { image, saved } = await startOf(suite, snapshot, packages);
  clearKilled();
  return makeMachine(mkdtempSync(join(tmpdir(), `${folderPrefix}${process.pid}-`)), {
    image,
    ...(disk === undefined ? {} : { disk }),
    ...(saved === undefined ? {} : { saved }),
  });
}

/** Removes the machines of test runs that were killed: nobody else could. */
function clearKilled(): void {
  for (const name of readdirSync(tmpdir()).filter((one) => one.startsWith(folderPrefix))) {
    const pid = /^\d+/.exec(name.slice(folderPrefix.length))?.[0] ?? 'nobody';
    if (!existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Ends a machine. After a failure its console is kept, and said where. */
async function endVm(machine: Machine, title: string, passed: boolean): Promise<void> {
  const text = machine.console();
  if (!passed) {
    const folder = join(machineFolder(), 'failed');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${title.replace(/[^\w]+/g, '-').slice(0, 80)}.console`);
    writeFileSync(file, text);
    console.log(`the console of the machine is kept in ${file}`);
  }
  try {
    await machine.cut();
  } finally {
    await machine.remove();
  }
}
