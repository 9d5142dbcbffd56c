import { lstatSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PersonaError, toWire } from '../ipc/errors.ts';
import { escapeText } from '../ipc/values.ts';
import type { Log } from './changes/log.ts';
import { pathsOf } from './config/paths.ts';
import { describeSettings, readSettings } from './config/settings.ts';
import { keepDescriptorsFromChildren } from './kernel/exec.ts';
import { notifyManager } from './kernel/notify.ts';
import { openLog } from './log.ts';
import { version } from './version.ts';
import { type Daemon, startDaemon } from './wiring.ts';

type Environment = Record<string, string | undefined>;

const usage = `usage: personad [--check-config | --version | --help]

Runs the daemon in the foreground. Settings: /etc/persona/persona.toml and conf.d/.
PERSONA_ROOT=DIR puts settings, state and sockets below DIR (not under systemd).
`;

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

/** Runs the daemon until it is told to stop. Returns the exit status. */
export async function serve(args: readonly string[], env: Environment): Promise<number> {
  const [option] = args;
  if (option === '--version' || option === '--help') {
    process.stdout.write(option === '--help' ? usage : `personad ${version}\n`);
    return 0;
  }
  try {
    checkEnvironment(env);
    const paths = pathsOf(env.PERSONA_ROOT);
    const settings = readSettings(paths.etc);
    if (option === '--check-config') {
      process.stdout.write(`${describeSettings(settings).join('\n')}\n`);
      return 0;
    }
    if (option !== undefined) {
      process.stderr.write(usage);
      return 2;
    }
    if (process.getuid?.() !== 0)
      throw new PersonaError('permission-denied', 'the daemon must be started by root');
    keepDescriptorsFromChildren();
    const level = settings.values['daemon.log_level'];
    const log = openLog({ level, journald: env.JOURNAL_STREAM !== undefined });
    for (const origin of describeSettings(settings).filter((line) => !line.includes('(default)')))
      log.info({}, `setting ${origin}`);
    return await runUntilTold(await startDaemon({ paths, settings, log, version }), log, env);
  } catch (error) {
    const { message, hint, exit } = toWire(error);
    process.stderr.write(`personad: ${escapeText(message)}\n${escapeText(hint)}\n`);
    if (!(error instanceof PersonaError)) process.stderr.write(`${(error as Error)?.stack}\n`);
    return exit;
  }
}

async function runUntilTold(daemon: Daemon, log: Log, env: Environment): Promise<number> {
  const told = Promise.withResolvers<string>();
  // `on`, not `once`: the library that starts children ends the process when it is the last to listen.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => told.resolve(signal));
  // A peer that closed its pipe, or the terminal that started us, is no reason to stop.
  for (const signal of ['SIGHUP', 'SIGPIPE'] as const) process.on(signal, () => undefined);
  const notify = (state: string) => {
    try {
      notifyManager(env.NOTIFY_SOCKET, state);
    } catch (error) {
      log.warn({ err: error }, 'cannot tell the service manager, ignoring');
    }
  };
  const watchdog = startWatchdog(daemon, Number(env.WATCHDOG_USEC ?? 0) / 1_000, notify, log);
  notify(
    `READY=1\nSTATUS=${daemon.degraded === undefined ? 'ready' : `degraded: ${daemon.degraded}`}`,
  );
  log.info({ pid: process.pid, version, degraded: daemon.degraded }, 'ready');
  const signal = await told.promise;
  log.info({ signal }, 'stopping');
  notify('STOPPING=1');
  clearInterval(watchdog);
  await daemon.stop();
  log.info({}, 'stopped');
  return 0;
}

/**
 * Pings the manager only when a pool thread answers and the journal can be written (SECURITY 26): a
 * daemon that still turns its loop but can do nothing else is started anew.
 */
function startWatchdog(
  daemon: Daemon,
  limitMs: number,
  notify: (state: string) => void,
  log: Log,
): NodeJS.Timeout | undefined {
  if (!(limitMs > 0)) return undefined;
  let asking = false;
  return setInterval(async () => {
    if (asking) return;
    asking = true;
    try {
      await daemon.alive();
      notify('WATCHDOG=1');
    } catch (error) {
      log.error({ err: error }, 'no sign of life for the watchdog');
    } finally {
      asking = false;
    }
  }, limitMs / 3);
}
