import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { createGroup, readHierarchies } from '../daemon/kernel/cgroups.ts';
import { managerRuns } from '../daemon/kernel/unit-properties.ts';
import { atMost, type Bar } from './bar.ts';
import { catalogueBars } from './catalogue.ts';
import { foundBars } from './found.ts';
import { type Ground, openGround } from './ground.ts';
import { groupsBelow, removeAll } from './launch-groups.ts';
import { inScope, scopeBars } from './launch-scopes.ts';
import { compileFloor } from './programs.ts';
import {
  apartByBwrap,
  LASTING,
  overPlain,
  PROGRAM,
  startTimes,
  unmeasured,
} from './start-times.ts';

/** One line for --list. */
export const summary =
  'look-up and import of applications; start of a program through persona-run (standard and secure) and the tool, beside plain exec, bwrap, gamemoderun, cgexec, firejail; how soon one is found that was started without the daemon';

/** Time is measured: the best of three. */
export const runs = 3;

/** Runs the bench; `quick` takes fewer samples. */
export async function run({ quick }: { quick: boolean }): Promise<Bar[]> {
  const side = `personad-bench-${process.pid}`;
  const settings = `[daemon]\ngroup = "${someGroup.name}"\n[partitions]\nuser = "${side}"\n`;
  const ground = await openGround(settings);
  process.env.PERSONA_ROOT = ground.root;
  try {
    const floor = compileFloor('start-floor', `${ground.root}/start-floor`);
    if (floor === undefined) throw new Error('gcc is not installed, which persona-run needs too');
    const rounds = quick ? 15 : 40;
    const starts = [
      await unplaced(ground, floor, rounds),
      await placed(ground, floor, side, rounds),
      ...(await scopeBars(ground, floor, rounds)),
      await throughTool(ground, floor, quick ? 10 : 30),
      await secure(ground, floor, rounds),
    ];
    await ground.reconnect();
    return [...(await catalogueBars(ground, quick)), ...starts, ...(await foundBars(quick))];
  } finally {
    await ground.stop();
  }
}

/** Without a group to put it in: the plan, and nothing else. */
async function unplaced({ dist }: Ground, floor: string, rounds: number): Promise<Bar> {
  const times = await startTimes(
    // Who is in no slice of a user stays where it is.
    managerRuns() ? [...inScope('system.slice'), floor] : [floor],
    {
      plain: [PROGRAM],
      'persona-run': [`${dist}/persona-run`, 'bench', '--', PROGRAM],
      bwrap: ['bwrap', '--ro-bind', '/', '/', PROGRAM],
      gamemoderun: ['gamemoderun', PROGRAM],
      'firejail without profile': ['firejail', '--quiet', '--noprofile', PROGRAM],
    },
    rounds,
  );
  return overPlain('start by persona-run over plain exec', 'persona-run', 2, rounds, times);
}

/** Nobody's id; and a group of every Debian, whose members may have enclaves here. */
const uid = 65_533;
const someGroup = { name: 'nogroup', gid: 65_534 };

/** Kept apart, as an ordinary user with an open enclave. */
async function secure(ground: Ground, floor: string, rounds: number): Promise<Bar> {
  const { root, dist } = ground;
  const name = 'secure start by persona-run over plain exec';
  const as = ['--reuid', `${uid}`, '--regid', `${uid}`, '--groups', `${someGroup.gid}`, '--'];
  const key = `${root}/key`;
  chmodSync(root, 0o711);
  writeFileSync(key, 'a key', { mode: 0o600 });
  chownSync(key, uid, uid);
  const tool = [...as, process.execPath, `${dist}/personactl.cjs`, 'enclave'];
  try {
    execFileSync('setpriv', [...tool, 'create', 'vault', '--size', '16M', '--key-file', key]);
    execFileSync('setpriv', [...tool, 'open', 'vault', '--key-file', key]);
  } catch (error) {
    const reason = `no enclave here: ${error instanceof Error ? error.message : error}`;
    return unmeasured(name, reason);
  }
  try {
    const times = await startTimes(
      ['setpriv', ...as, floor],
      {
        plain: [PROGRAM],
        'persona-run': [`${dist}/persona-run`, '--profile', 'secure', 'bench', '--', PROGRAM],
        'bwrap with all of the machine to read': ['bwrap', '--ro-bind', '/', '/', PROGRAM],
        'bwrap with namespaces of its own': [...apartByBwrap, PROGRAM],
        'firejail without profile': ['firejail', '--quiet', '--noprofile', PROGRAM],
        firejail: ['firejail', '--quiet', PROGRAM],
      },
      rounds,
    );
    return overPlain(name, 'persona-run', 8, rounds, times);
  } finally {
    await ground.reconnect();
    await ground.client.call('enclave.close', { enclave: 'vault', wait: true });
  }
}

/** With a group of its own for each start. */
async function placed({ dist }: Ground, floor: string, side: string, rounds: number): Promise<Bar> {
  const name = 'start by persona-run into a group of its own over plain exec';
  if (managerRuns()) return unmeasured(name, 'systemd runs here, and makes all groups');
  const memory = readHierarchies().find(({ controllers }) => controllers.includes('memory'));
  if (memory === undefined) return unmeasured(name, 'no memory controller');
  const at = `${memory.at}/${side}`;
  createGroup(at);
  createGroup(`${at}/peer`);
  const moves = `echo $$ > ${at}/peer/cgroup.procs; exec "$0" "$@"`;
  try {
    const times = await startTimes(
      [floor],
      {
        plain: LASTING,
        'persona-run': [`${dist}/persona-run`, 'bench', '--', ...LASTING],
        'a shell that moves itself': ['/bin/sh', '-c', moves, ...LASTING],
        cgexec: ['cgexec', '-g', `memory:${side}/peer`, ...LASTING],
      },
      rounds,
    );
    if (groupsBelow(at).length < 2) throw new Error('nothing was put into a group');
    return overPlain(name, 'persona-run', 3, rounds, times);
  } finally {
    await removeAll(memory, side);
  }
}

async function throughTool({ dist }: Ground, floor: string, rounds: number): Promise<Bar> {
  const node = process.execPath;
  const tool = [node, `${dist}/personactl.cjs`, 'run', 'bench', '--', PROGRAM];
  const ways = { tool, 'node -e 0': [node, '-e', '0'] };
  const { tool: ours, 'node -e 0': bare } = await startTimes([floor], ways, rounds);
  if (typeof ours !== 'number' || typeof bare !== 'number')
    throw new Error('the tool does not run');
  return atMost('start by personactl run against node -e 0', ours / bare, 'x', 1.4, rounds, {
    'ours (ms)': ours,
    'node (ms)': bare,
  });
}
