/** A virtual machine: a folder with its disks, and qemu while it is up. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type AgentLink, connectAgent, type GuestCommand } from './agent-link.ts';
import type { Image } from './base-image.ts';
import { type Below, makeDisks, settleDisks } from './disks.ts';
import {
  argvOf,
  type Command,
  collect,
  type RunOptions,
  type RunResult,
  stream,
  type Take,
} from './guest-command.ts';
import { consoleText, kernelFailure } from './guest-console.ts';
import { getFiles, putFiles } from './guest-files.ts';
import { files, type Start } from './qemu.ts';
import { killQemu, qemuGone, qemuPid, startQemu } from './qemu-process.ts';
import { askQemu } from './qmp.ts';
import { goOn, type SavedState } from './saved-state.ts';

const bootMs = 240_000;
const settleMs = 180_000;
const downMs = 120_000;
const answerMs = 20_000;

/** What a machine is made of; kept in its folder. */
interface Plan {
  image: Image;
  below: Below;
  saved?: SavedState;
}

export class Machine {
  readonly folder: string;
  readonly image: Image;
  /** What systemd says of its start: `running`, or `degraded` when a unit failed. */
  state = 'off';
  /** The boot id of the running kernel. */
  bootId = '';
  readonly #plan: Plan;
  readonly #loose: boolean;
  #link: AgentLink | undefined;
  /** A saved state fits the disks only until the first start. */
  #fresh: boolean;

  constructor(folder: string, plan: Plan, loose: boolean, fresh: boolean) {
    this.folder = folder;
    this.image = plan.image;
    this.#plan = plan;
    this.#loose = loose;
    this.#fresh = fresh;
  }

  get up(): boolean {
    return qemuPid(this.folder) !== undefined;
  }

  /** Switches on and waits until systemd is done. The first time from the saved state, where the machine has one. */
  async boot(how: Omit<Start, 'image' | 'saved'> = {}): Promise<void> {
    if (this.up) throw new Error('the machine is up already');
    await settleDisks(this.folder);
    const saved = this.#fresh ? this.#plan.saved : undefined;
    this.#fresh = false;
    const image = this.image;
    const start: Start =
      saved === undefined ? { image, ...how } : { image, saved: saved.state, withoutData: true };
    await startQemu(this.folder, start, this.#loose);
    if (saved !== undefined) await goOn(join(this.folder, files.qemu));
    await this.connect(bootMs);
    if (saved !== undefined) await this.#catchUp();
    const { stdout } = await this.run('systemctl is-system-running --wait', {
      deadlineMs: settleMs,
    });
    this.state = stdout.trim();
    this.#check();
  }

  /** Connects to a machine that is up. Commands that run in it by another connection are killed. */
  async connect(deadlineMs = answerMs): Promise<void> {
    try {
      this.#link = await connectAgent(join(this.folder, files.agent), deadlineMs);
      this.bootId = this.#link.bootId;
    } catch (error) {
      this.#check();
      throw new Error(`${(error as Error).message}; its console ends:\n${this.#consoleEnd()}`);
    }
  }

  /** Forgets the connection; the machine stays up. */
  disconnect(): void {
    this.#link?.close();
    this.#link = undefined;
  }

  /**
   * Runs a command in the guest, several at a time if wanted. A status that is not 0 is an answer; it throws when the
   * deadline passes, the output is too long, or the machine ends first.
   */
  async run(command: Command, options: RunOptions = {}): Promise<RunResult> {
    return this.#checked(collect(this.#connected(), command, options));
  }

  /** Like `run`, but only success is an answer: its standard output. */
  async must(command: Command, options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, options);
    if (status === 0) return stdout;
    throw new Error(`in the guest: ${command}: status ${status}\n${stdout}${stderr}`);
  }

  /** Runs a command and hands its output on, however much it is. Returns its status. */
  async stream(command: Command, options: RunOptions, take: Take): Promise<number> {
    return this.#checked(stream(this.#connected(), command, options, take));
  }

  /** A command whose standard input and output are passed through by the caller. */
  open(command: Command, take: (stream: 'out' | 'err', bytes: Buffer) => void): GuestCommand {
    return this.#connected().run(argvOf(command), take);
  }

  /** Copies a file or a folder of the host to the very path `remote`. */
  put(local: string, remote: string): Promise<void> {
    return putFiles(this, local, remote);
  }

  /** Copies a file or a folder of the guest to the very path `local`. */
  get(remote: string, local: string): Promise<void> {
    return getFiles(this, remote, local);
  }

  /**
   * Power cut: nothing in the guest hears of it. What the guest did not flush to its disks is lost too; with
   * `keepDiskCache` only what it had not written to them.
   */
  async cut({ keepDiskCache = false } = {}): Promise<void> {
    this.disconnect();
    const pid = qemuPid(this.folder);
    if (keepDiskCache && pid !== undefined) {
      const quit = askQemu(join(this.folder, files.qemu), (ask) => ask('quit'));
      await quit.catch(() => undefined);
      await qemuGone(pid);
    } else {
      await killQemu(this.folder);
    }
    this.state = 'off';
    this.#check();
  }

  /** Switches off in order: services stop, file systems are taken off. */
  async down(): Promise<void> {
    const pid = qemuPid(this.folder);
    await this.run('systemctl poweroff --no-block');
    if (pid !== undefined) await qemuGone(pid, downMs);
    this.disconnect();
    this.state = 'off';
    this.#check();
  }

  /** Off in order, and on again. */
  async reboot(): Promise<void> {
    await this.down();
    await this.boot();
  }

  /** What the guest's kernel wrote, over all starts. */
  console(): string {
    return consoleText(this.folder);
  }

  /** Ends the machine as it is and removes it. */
  async remove(): Promise<void> {
    this.disconnect();
    await killQemu(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A machine from a saved state lives in the past, and its disk has only just come. */
  async #catchUp(): Promise<void> {
    const wait = 'until [ -b /dev/nvme0n1 ]; do sleep 0.05; done';
    await this.must(['date', '-s', `@${Math.round(Date.now() / 1000)}`]);
    await this.must(`${wait}; mount -o noatime /dev/nvme0n1 /var/lib/persona`);
    await this.must(
      'chmod 700 /var/lib/persona; systemctl start multi-user.target sockets.target',
      { deadlineMs: settleMs },
    );
  }

  #connected(): AgentLink {
    if (this.#link === undefined) throw new Error('the machine is not up');
    return this.#link;
  }

  /** A failure of the guest's kernel says more than what it led to. */
  async #checked<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      this.#check();
      throw error;
    }
  }

  #check(): void {
    const failure = kernelFailure(this.console());
    if (failure !== undefined) throw new Error(`the kernel of the guest failed:\n${failure}`);
  }

  #consoleEnd(): string {
    return this.console().trim().split(/\r?\n/).slice(-15).join('\n');
  }
}

const planFile = 'machine.json';

export interface NewMachine {
  image: Image;
  /** Size of the NVMe disk for /var/lib/persona; 2G unless said. */
  disk?: string;
  saved?: SavedState;
  /** It outlives this process. */
  loose?: boolean;
}

/** Makes the machine in `folder`, switched off. */
export async function makeMachine(folder: string, made: NewMachine): Promise<Machine> {
  mkdirSync(folder, { recursive: true });
  const { image, saved } = made;
  const below: Below =
    saved === undefined
      ? { path: image.root, format: 'raw' }
      : { path: saved.root, format: 'qcow2' };
  await makeDisks(folder, below, made.disk ?? '2G');
  const plan: Plan = { image, below, ...(saved === undefined ? {} : { saved }) };
  writeFileSync(join(folder, planFile), JSON.stringify(plan));
  return new Machine(folder, plan, made.loose ?? false, true);
}

/** The machine that was made in `folder`, or undefined. */
export function findMachine(folder: string): Machine | undefined {
  const path = join(folder, planFile);
  if (!existsSync(path)) return undefined;
  const plan = JSON.parse(readFileSync(path, 'utf8')) as Plan;
  const fresh = !existsSync(join(folder, files.console));
  return new Machine(resolve(folder), plan, true, fresh);
}
