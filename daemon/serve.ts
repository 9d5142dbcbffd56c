import { lstatSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PersonaError, toWire } from '../ipc/errors.ts';
import { escapeText } from '../ipc/values.ts';
import type { Log } from './changes/log.ts';
import { pathsOf } from './config/paths.ts';
import { describeSettings, readSettings } from './config/settings.ts';
import { refuseCoreDumps } from './kernel/core-dumps.ts';
import { useDelegatedGroup } from './kernel/delegated-group.ts';
import { keepDescriptorsFromChildren } from './kernel/exec.ts';
import { notifyManager } from './kernel/notify.ts';
import { takePassedSockets } from './kernel/passed-sockets.ts';
import { managerRuns } from './kernel/unit-properties.ts';
import { openLog } from './log.ts';
import { runOption } from './options.ts';
import { version } from './version.ts';
import { startWatchdog } from './watchdog.ts';
import type { Daemon, Hooks } from './wiring.ts';

type Environment = Record<string, string | undefined>;

/** True when the service manager started this process itself: what a service starts inherits the other names. */
function underManager(env: Environment): boolean {
  if (env.SYSTEMD_EXEC_PID !== undefined) return env.SYSTEMD_EXEC_PID === String(process.pid);
  return env.INVOCATION_ID !== undefined || env.NOTIFY_SOCKET !== undefined;
}

/**
 * Refuses what must not reach a service (SECURITY 32): a private tree, and options that make Node load
 * foreign code. Outside of a service the options are only kept from children.
 */
function checkEnvironment(env: Environment): void {
  const service = underManager(env);
  for (const name of ['PERSONA_ROOT', 'NODE_OPTIONS'])
    if (service && env[name] !== undefined && env[name] !== '')
      throw new PersonaError('bad-config', {
        file: 'the unit',
        reason: `${name} is set, and a service does not take it`,
      });
  delete env.NODE_OPTIONS;
  if (service) checkProgram(realpathSync(fileURLToPath(import.meta.url)));
}

/** A service runs nothing that anyone but root could have written (SECURITY 32). */
function checkProgram(file: string): void {
  for (let path = file; ; path = dirname(path)) {
    const { uid, mode } = lstatSync(path);
    if (uid !== 0 || (mode & 0o022) !== 0)
      throw new PersonaError('bad-config', {
        file: path,
        reason: `others than root can write ${path}, which a service runs from`,
      });
    if (path === '/') return;
  }
}

/** Runs the daemon until it is told to stop, or does what an option asks for. Returns the exit status. */
export async function serve(
  args: readonly string[],
  env: Environment,
  hooks: Hooks = {},
): Promise<number> {
  try {
    checkEnvironment(env);
    const ended = await runOption(args, env.PERSONA_ROOT);
    if (ended !== undefined) return ended;
    if (process.getuid?.() !== 0)
      throw new PersonaError('permission-denied', 'the daemon must be started by root');
    return await runDaemon(env, hooks);
  } catch (error) {
    const { message, hint, exit } = toWire(error);
    process.stderr.write(`personad: ${escapeText(message)}\n${escapeText(hint)}\n`);
    if (!(error instanceof PersonaError)) process.stderr.write(`${(error as Error)?.stack}\n`);
    return exit;
  }
}

async function runDaemon(env: Environment, hooks: Hooks): Promise<number> {
  const paths = pathsOf(env.PERSONA_ROOT);
  const settings = readSettings(paths.etc);
  keepDescriptorsFromChildren();
  refuseCoreDumps();
  const passed = takePassedSockets(env);
  const level = settings.values['daemon.log_level'];
  const log = openLog({ level, journald: env.JOURNAL_STREAM !== undefined });
  for (const origin of describeSettings(settings).filter((line) => !line.includes('(default)')))
    log.info({}, `setting ${origin}`);
  const notify = (state: string) => {
    try {
      notifyManager(env.NOTIFY_SOCKET, state);
    } catch (error) {
      log.warn({ err: error }, 'cannot tell the service manager, ignoring');
    }
  };
  notify('STATUS=starting: slots are brought back, unfinished changes are ended');
  if (underManager(env)) await takeGroup(log);
  // Other managers than systemd have no word for what is to follow every end.
  const service = underManager(env) && managerRuns();
  const { startDaemon } = await import('./wiring.ts');
  let told: Told | undefined;
  for (;;) {
    const daemon = await startDaemon({
      ...{ paths, settings, log, version, passed, service, hooks },
      // Of what somebody starts by hand inside another service they would be that one's.
      credentials: underManager(env) ? env.CREDENTIALS_DIRECTORY : undefined,
    });
    const watchdogMs = Number(env.WATCHDOG_USEC ?? 0) / 1_000;
    // A signal ends the first start at once.
    told ??= hearSignals();
    await runUntilTold(daemon, log, notify, { watchdogMs, told });
    if (told.by !== undefined) return 0;
    // The manager starts us with sockets and a group as they belong.
    if (underManager(env)) return restartStatus;
  }
}

/** EX_TEMPFAIL of sysexits.h: the service manager is to start the daemon again. */
const restartStatus = 75;

/** Without a group of its own the children get theirs below the root, as without a manager. */
async function takeGroup(log: Log): Promise<void> {
  try {
    log.debug({ group: await useDelegatedGroup() }, 'the group of this service');
  } catch (err) {
    log.warn({ err }, 'cannot use the group of this service for its children, ignoring');
  }
}

/** What this process was told. */
interface Told {
  /** The signal to stop, once it has come: also while the daemon starts anew. */
  by?: string;
  /** Resolves when it comes. */
  stop: Promise<void>;
}

/** Hears signals, from now to the end of this process. */
function hearSignals(): Told {
  const stop = Promise.withResolvers<void>();
  const told: Told = { stop: stop.promise };
  // `on`, not `once`: the library that starts children ends the process when it is the last to listen.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      told.by ??= signal;
      stop.resolve();
    });
  // A peer that closed its pipe, or the terminal that started us, is no reason to stop.
  for (const signal of ['SIGHUP', 'SIGPIPE'] as const) process.on(signal, () => undefined);
  return told;
}

/** Until a signal, or a change that wants the daemon to start anew. */
async function runUntilTold(
  daemon: Daemon,
  log: Log,
  notify: (state: string) => void,
  { watchdogMs, told }: { watchdogMs: number; told: Told },
): Promise<void> {
  const { degraded } = daemon;
  const watchdog = startWatchdog(
    () => daemon.alive(),
    watchdogMs,
    () => notify('WATCHDOG=1'),
    log,
  );
  notify(
    `READY=1\nSTATUS=${degraded === undefined ? 'ready' : `degraded: ${escapeText(degraded)}`}`,
  );
  log.info({ pid: process.pid, version, degraded }, 'ready');
  await Promise.race([told.stop, daemon.restart]);
  log.info({ signal: told.by ?? 'restart' }, 'stopping');
  notify('STOPPING=1\nSTATUS=stopping');
  clearInterval(watchdog);
  await daemon.stop();
  log.info({}, 'stopped');
}
