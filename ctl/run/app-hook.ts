import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { applicationIdPattern } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { inTime } from '../deadline.ts';
import { findProgram } from '../launch/become.ts';
import { hookEntry, hookOf } from '../launch/desktop-entry.ts';
import { isClosed } from '../launch/hooked.ts';
import {
  type HookedCommand,
  type HookShell,
  hookedCommands,
  shellHook,
} from '../launch/shell-hook.ts';
import { columns } from '../print/columns.ts';
import { say } from '../print/safe.ts';
import { usageError } from '../usage-error.ts';

/** An entry is a page of text; those of large programs in all languages have some 30 KiB. */
const entryBytesMax = 256 * 1024;
/** So many moments the daemon has to say what is stated: a shell that starts has no walls around what is typed without it. */
const DAEMON_MOMENTS = 4;
const plainPath = /^\/[A-Za-z0-9/._+-]+$/;

/** A plain file that is an entry, or undefined. Links are followed only outside of the user's own folder. */
function readEntry(path: string, follow: boolean): string | undefined {
  const link = follow ? 0 : constants.O_NOFOLLOW;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | link);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'ELOOP') return '';
    throw error;
  }
  try {
    const found = fstatSync(fd);
    return found.isFile() && found.size <= entryBytesMax ? readFileSync(fd, 'utf8') : '';
  } finally {
    closeSync(fd);
  }
}

/** The user's own folder of entries, which desktops look at first. */
function ownFolder({ io: { env } }: Call): string {
  const data = env.XDG_DATA_HOME;
  if (data && isAbsolute(data)) return join(data, 'applications');
  if (env.HOME && isAbsolute(env.HOME)) return join(env.HOME, '.local/share/applications');
  throw new PersonaError('bad-value', { name: 'HOME', reason: 'it names no folder' });
}

/** The entry of an application as the machine has it. Throws `file-not-found`. */
function installedEntry(call: Call, app: string): { path: string; text: string } {
  const folders = (call.io.env.XDG_DATA_DIRS || '/usr/local/share:/usr/share').split(':');
  for (const folder of folders.filter(isAbsolute)) {
    const path = join(folder, 'applications', `${app}.desktop`);
    const text = readEntry(path, true);
    if (text !== undefined) return { path, text };
  }
  throw new PersonaError('file-not-found', { path: `${app}.desktop in ${folders.join(', ')}` });
}

function launcherOf(call: Call): string {
  const found = findProgram('persona-run', call.io.env);
  if (typeof found === 'string')
    throw new PersonaError('tool-missing', {
      tool: 'persona-run',
      fix: 'the package of personad has it; `npm run build` makes it where a C compiler is',
    });
  if (!plainPath.test(found.path))
    throw new PersonaError('bad-value', { name: found.path, reason: 'it has odd characters' });
  return found.path;
}

/** Throws unless the user's entry is ours and unchanged, or is not there. */
function checkOwn(path: string): boolean {
  const text = readEntry(path, false);
  if (text === undefined) return false;
  const what = `a hook at ${path}`;
  const hook = hookOf(text);
  if (hook === undefined)
    throw new PersonaError('already-exists', { what, reason: 'the entry is your own' });
  if (!hook.intact)
    throw new PersonaError('already-exists', { what, reason: 'the entry was edited since' });
  return true;
}

/** Whether an application starts apart or not at all. Of one that the daemon does not know nobody has said so. */
async function startsClosed(call: Call, app: string): Promise<boolean> {
  const client = await call.client();
  try {
    return isClosed((await client.call('app.explain', { app })).explanation);
  } catch (error) {
    if (error instanceof PersonaError && error.code === 'app-not-found') return false;
    throw error;
  }
}

async function enable(call: Call, app: string): Promise<undefined> {
  const folder = ownFolder(call);
  const path = join(folder, `${app}.desktop`);
  checkOwn(path);
  const { path: source, text } = installedEntry(call, app);
  const launcher = launcherOf(call);
  const closed = await startsClosed(call, app);
  const hooked = hookEntry(text, { app, launcher, source, ...(closed && { closed }) });
  if (hooked === undefined)
    throw new PersonaError('bad-value', { name: source, reason: 'it starts no program' });
  mkdirSync(folder, { recursive: true });
  const fresh = join(folder, `.${app}.${process.pid}.new`);
  try {
    writeFileSync(fresh, hooked, { flag: 'wx', flush: true });
    renameSync(fresh, path);
  } finally {
    rmSync(fresh, { force: true });
  }
  call.out.done({ app, path, source, hooked: true }, () => [
    say`${call.out.style.bold(app)} starts through personad from menus now: ${path}`,
  ]);
  return undefined;
}

function disable(call: Call, app: string): undefined {
  const path = join(ownFolder(call), `${app}.desktop`);
  const there = checkOwn(path);
  if (there) unlinkSync(path);
  call.out.done({ app, path, hooked: false }, () => [
    there
      ? say`${call.out.style.bold(app)} starts from menus as its own entry says again.`
      : say`${call.out.style.bold(app)} has no hook.`,
  ]);
  return undefined;
}

type Hooked = NonNullable<ReturnType<typeof hookOf>>;

/** How a hook stands beside the entry that it was made from, and beside what is said of its application now. */
function stateOf({ source, intact, closed }: Hooked, closedNow = closed === true) {
  if (!intact) return 'edited';
  if (readEntry(source, true) === undefined) return 'orphaned';
  return closedNow === (closed === true) ? 'current' : 'stale';
}

/** Which of these start apart or not at all now; nothing where the daemon does not say, which is told. */
async function closedNow(call: Call, apps: readonly string[]): Promise<Map<string, boolean>> {
  const found = new Map<string, boolean>();
  const ask = async () => {
    for (const app of apps) found.set(app, await startsClosed(call, app));
  };
  try {
    await inTime(ask(), DAEMON_MOMENTS * call.io.momentMs, 'asking the daemon');
  } catch (error) {
    if (!(error instanceof PersonaError)) throw error;
    call.out.note(say`Which of them are stale is not known: ${error.message}`);
  }
  return found;
}

async function list(call: Call): Promise<undefined> {
  const folder = ownFolder(call);
  let names: string[] = [];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.desktop'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const found = names.sort().flatMap((name) => {
    const app = name.slice(0, -'.desktop'.length);
    const hook = hookOf(readEntry(join(folder, name), false) ?? '');
    return hook === undefined || !applicationIdPattern.test(app) ? [] : [{ app, hook }];
  });
  const closed = await closedNow(
    call,
    found.map(({ app }) => app),
  );
  const hooks = found.map(({ app, hook }) => {
    return { app, source: hook.source, state: stateOf(hook, closed.get(app)) };
  });
  call.out.result({ hooks }, () => {
    if (hooks.length === 0)
      call.out.note(say`No hooks: \`personactl app hook APP --enable\` makes one.`);
    const titles = ['APP', 'STATE', 'MADE FROM'].map((title) => ({ title }));
    const rows = hooks.map(({ app, state, source }) => [app, state, source]);
    return rows.length === 0 ? [] : columns(titles, rows, call.out.style);
  });
  return undefined;
}

/** Rules by which somebody has decided how an application is to run. */
const decided = new Set(['required', 'stated', 'sensitive']);

async function statedApplications(call: Call) {
  const client = await call.client();
  return await client.call('app.list', { stated: true });
}

/** Prints functions for a shell. Without a daemon there are none: a shell that starts must not fail. */
async function printShell(call: Call, shell: HookShell): Promise<undefined> {
  const all: HookedCommand[] = [];
  try {
    // The manager takes connections while the daemon starts, which may take minutes.
    const late = DAEMON_MOMENTS * call.io.momentMs;
    const { applications, more } = await inTime(
      statedApplications(call),
      late,
      'asking the daemon',
    );
    if (more > 0) call.out.note(say`There are ${more} more applications, which are not hooked.`);
    all.push(...hookedCommands(applications.filter(({ rule }) => decided.has(rule))));
  } catch (error) {
    if (!(error instanceof PersonaError)) throw error;
    call.out.note(say`Nothing is hooked: ${error.message}`);
  }
  call.out.result({ shell, commands: all }, () => {
    const text = shellHook(shell, all).trimEnd();
    return text.split('\n').map((line) => say`${line}`);
  });
  return undefined;
}

/** `personactl app hook` */
export async function hook(call: Call): Promise<undefined> {
  const app = call.given('APP');
  const [on, off] = [call.has('enable'), call.has('disable')];
  const shell = call.text('shell') as HookShell | undefined;
  if (shell !== undefined && app === undefined) return await printShell(call, shell);
  if (app === undefined && !on && !off) return list(call);
  if (app === undefined || !(on || off))
    throw usageError(
      'it takes an application with --enable or --disable, a --shell, or nothing',
      'app hook',
    );
  if (!applicationIdPattern.test(app))
    throw new PersonaError('bad-value', { name: app, reason: 'it is no id of an application' });
  return on ? enable(call, app) : disable(call, app);
}
