import { lstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { isatty } from 'node:tty';
import { fromWire, PersonaError, toWire } from '../../ipc/errors.ts';
import type { Grants } from '../../ipc/methods/shapes.ts';
import { grantWords } from '../../ipc/values.ts';
import { type Call, runFolder } from '../call.ts';
import { closeInherited } from '../launch/descriptors.ts';
import { wrapping } from '../launch/env-program.ts';
import { cannotExecute, notThere, ownFailure } from '../launch/exit-status.ts';
import { type Ended, runPlan } from '../launch/sandbox.ts';
import { namespacesOff } from '../launch/user-namespaces.ts';
import { known } from '../perform.ts';
import { say } from '../print/safe.ts';

/** Without a command: bash where the persona has it. */
const shell = ['/bin/sh', '-c', 'if command -v bash >/dev/null; then exec bash; else exec sh; fi'];

const switches = [...grantWords, 'home', 'root'] as const;

function grantsOf(call: Call): Grants {
  const folders = [
    ...call.list('show').map((path) => ({ path: resolve(call.io.cwd(), path) })),
    ...call.list('share').map((path) => ({ path: resolve(call.io.cwd(), path), write: true })),
  ];
  const granted = switches.filter((name) => call.has(name)).map((name) => [name, true]);
  return { ...Object.fromEntries(granted), ...(folders.length > 0 && { folders }) };
}

/** Says why nothing ran, where the launcher itself could not say it well. */
function explain(call: Call, { began, failure }: Ended, launcher: string): void {
  if (failure?.code === 'ENOENT') {
    const fix = '`apt-get install bubblewrap`';
    throw new PersonaError('tool-missing', { tool: launcher, fix });
  }
  if (failure) throw new PersonaError('tool-failed', { tool: launcher, reason: failure.message });
  const off = began ? undefined : namespacesOff(call.io.uid());
  if (off) {
    const error = new PersonaError('user-namespaces-off', { reason: off.setting });
    error.hint = off.fix;
    throw error;
  }
}

/** What a program has to know of the terminal that it shares with us; nothing else of ours goes in. */
function terminalVariables(env: Call['io']['env']): Record<string, string> {
  const known = ['TERM', 'COLORTERM', 'NO_COLOR'].map((name) => [name, env[name] ?? ''] as const);
  return Object.fromEntries(known.filter(([, value]) => /^[\w.+-]{1,64}$/.test(value)));
}

async function launch(call: Call): Promise<number> {
  const client = await call.client();
  const slot = call.name('SLOT');
  const folder = call.text('folder');
  const terminal = isatty(0);
  const plan = await client.call('slot.exec', {
    slot,
    grants: grantsOf(call),
    ...(folder !== undefined && { folder }),
    ...(terminal && { terminal }),
  });
  client.close();
  for (const note of plan.notes) call.out.note(call.out.errStyle.dim(say`${note}`));
  const command = call.rest.length > 0 ? call.rest : shell;
  closeInherited();
  const root = `${runFolder(call.io.env)}/slots/${slot}/root`;
  const wrap = wrapping(root, command[0] ?? '');
  const ended = await runPlan(plan, wrap, command, {
    ...plan.environment,
    ...terminalVariables(call.io.env),
  });
  if (ended.ran) return ended.status;
  explain(call, ended, plan.argv[0] ?? '');
  // The launcher has said why. With `env` in between, a missing program was told apart there.
  if (!ended.began || wrap.inside.length > 0) return ownFailure;
  return isThere(root, command[0] ?? '', plan.environment.PATH) ? cannotExecute : notThere;
}

/** Whether a tree has a program of this name; links are not followed. */
function isThere(root: string, name: string, path = '/usr/local/bin:/usr/bin:/bin'): boolean {
  const folders = name.includes('/') ? [''] : path.split(':');
  return folders.some((folder) => {
    try {
      return lstatSync(`${root}${folder}/${name}`, { throwIfNoEntry: false });
    } catch {
      return false; // in a folder that we may not enter, say
    }
  });
}

/** `personactl exec`: the status of the program, or 125 to 127. */
export async function exec(call: Call): Promise<number> {
  try {
    return await launch(call);
  } catch (error) {
    throw fromWire({ ...toWire(known(error)), exit: ownFailure });
  }
}
