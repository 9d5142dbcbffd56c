import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { changedCopy, programTree } from '../security/trees.ts';
import { builtPackage } from '../support/package.ts';
import {
  bootContainer,
  type Container,
  type ContainerOptions,
  containerNeeds,
  type Ran,
  type RunOptions,
  type Scope,
} from '../support/systemd-container.ts';

/** What these tests need from the machine: a container, and what the tree of a persona is made from. */
export const needs = {
  ...containerNeeds,
  tools: [...containerNeeds.tools, 'dpkg-deb', 'ldd', 'setcap'],
};

const pollMs = 50;

/** Users of the machine. `owner` and `other` are in the group persona, `user` is not. */
export const users = { owner: 2001, other: 2002, user: 2003 } as const;

/** A Debian with the package installed. */
export interface Installed extends Container {
  /** The gid of the group persona. */
  gid: number;
  /** Runs the tool; rejects unless it ends with 0. */
  tool(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Runs the tool with --json as somebody; `value` is what it printed on success. */
  asked(args: readonly string[], options?: RunOptions): Promise<{ status: number; value: unknown }>;
  /** A property of a unit. */
  property(unit: string, name: string): Promise<string>;
  /** The daemon's process, as the machine numbers it. */
  daemonPid(): Promise<number>;
  /** SIGKILL of the daemon alone. */
  crash(): Promise<unknown>;
  /** Waits until `question` answers true; rejects with `what` otherwise. */
  until(what: string, question: () => Promise<boolean>, limitMs?: number): Promise<void>;
  /** Waits until a daemon is ready that is not the process `other`. */
  untilReady(other?: number): Promise<number>;
  /** The unit's log of this boot. */
  log(unit: string, ...args: string[]): Promise<string>;
  /** Waits until the unit's log has it: what a process writes reaches the journal after the process went on. */
  untilLogged(unit: string, line: RegExp): Promise<void>;
}

/** Boots a Debian and installs the package of this tree in it, as an administrator does. */
export async function bootInstalled(t: Scope, options: ContainerOptions): Promise<Installed> {
  const [deb, machine] = await Promise.all([builtPackage(), bootContainer(t, options)]);
  machine.copyIn(deb, '/root/personad.deb');
  await machine.ok(['dpkg', '--install', '/root/personad.deb']);
  for (const [name, uid] of Object.entries(users)) {
    const group = name === 'user' ? [] : ['--groups', 'persona'];
    await machine.ok(['useradd', '--uid', `${uid}`, '--create-home', ...group, name]);
  }
  const line = await machine.ok(['getent', 'group', 'persona']);
  return { ...machine, gid: Number(line.split(':')[2]), ...questions(machine) };
}

function questions(machine: Container): Omit<Installed, keyof Container | 'gid'> {
  const property = async (unit: string, name: string) =>
    (await machine.ok(['systemctl', 'show', '--property', name, '--value', unit])).trim();
  const daemonPid = async () => Number(await property('personad.service', 'MainPID'));
  const until: Installed['until'] = async (what, question, limitMs = 30_000) => {
    const end = performance.now() + limitMs;
    while (!(await question())) {
      if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
      await pause(pollMs);
    }
  };
  const log: Installed['log'] = (unit, ...args) =>
    machine.ok(['journalctl', '--no-pager', '--boot', '--unit', unit, ...args]);
  return {
    async tool(args, options) {
      const { status, stdout, stderr } = await machine.run(['personactl', ...args], options);
      if (status === 0) return stdout;
      const log = await machine.run(['journalctl', '--no-pager', '--lines=20', '--unit=personad*']);
      throw new Error(
        `personactl ${args.join(' ')} ended with ${status}:\n${stderr}\n${log.stdout}`,
      );
    },
    async asked(args, options) {
      const { status, stdout } = await machine.run(['personactl', ...args, '--json'], options);
      return { status, value: stdout === '' ? undefined : JSON.parse(stdout) };
    },
    property,
    daemonPid,
    crash: () =>
      machine.ok(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'personad.service']),
    until,
    async untilReady(other = 0) {
      let pid = 0;
      await until('the daemon is ready', async () => {
        pid = await daemonPid();
        const active = await property('personad.service', 'ActiveState');
        return active === 'active' && pid !== 0 && pid !== other;
      });
      return pid;
    },
    log,
    async untilLogged(unit, line) {
      let seen = '';
      try {
        await until(`${line}`, async () => {
          seen = await log(unit);
          return line.test(seen);
        });
      } catch (cause) {
        throw new Error(`not in the log of ${unit}: ${line}\n${seen}`, { cause });
      }
    },
  };
}

/** Somebody on the machine: with the groups that the account has. */
export function as(machine: Installed, who: keyof typeof users): RunOptions {
  return { as: { uid: users[who], groups: who === 'user' ? [] : [machine.gid] } };
}

/** A base, the personas `a` and `b` of it, and the slot `work` of `owner` that shows `a`, made by the installed tool. */
export async function populate(machine: Installed): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-trees-'));
  try {
    const base = programTree(folder, 'base');
    machine.copyIn(base, '/srv/base');
    for (const name of ['a', 'b']) machine.copyIn(changedCopy(base, folder, name), `/srv/${name}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await machine.tool(['base', 'import', 'base', '--from', '/srv/base']);
  for (const name of ['a', 'b'])
    await machine.tool([
      'persona',
      'create',
      name,
      '--base',
      'base',
      '--from-tree',
      `/srv/${name}`,
    ]);
  await machine.tool(['slot', 'create', 'work'], as(machine, 'owner'));
  await machine.tool(['swap', 'work', 'a'], as(machine, 'owner'));
}

/** Where the slot of `populate` is. */
export const slotTree = '/run/persona/slots/work/root';

export type { Ran };
