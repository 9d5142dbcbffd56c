import { type Paths, pathsOf } from './config/paths.ts';
import { describeSettings, readSettings } from './config/settings.ts';
import { version } from './version.ts';

const usage = `usage: personad [OPTION]

Runs the daemon in the foreground. Settings: /etc/persona/persona.toml and conf.d/.
PERSONA_ROOT=DIR puts settings, state and sockets below DIR (not under systemd).

  --check-config        read the settings, print them and end
  --check-socket PATH   end with a failure when something uses PATH that is not a dead socket
  --restore             clear away what a daemon that was killed has left
  --version, --help
`;

function print(lines: readonly string[]): number {
  for (const line of lines) process.stdout.write(`${line}\n`);
  return 0;
}

/** Each answers the exit status. What they need is loaded by them: units run some of these at every start and stop. */
const options: Readonly<Record<string, (argument: string, paths: Paths) => Promise<number>>> = {
  '--help': async () => print([usage.trimEnd()]),
  '--version': async () => print([`personad ${version}`]),
  '--check-config': async (_, { etc }) => print(describeSettings(readSettings(etc))),
  '--check-socket': async (path) => {
    const { checkFree } = await import('./kernel/listen.ts');
    await checkFree(path);
    return 0;
  },
  '--restore': async (_, paths) => {
    const { removeOrphanGroups } = await import('./kernel/child-group.ts');
    const { restoreKnobs } = await import('./partitions/restore.ts');
    const { letStoppedGo } = await import('./writeback/stop-notes.ts');
    return print([
      ...(await letStoppedGo(paths)),
      ...(await restoreKnobs(paths)),
      ...removeOrphanGroups().map((group) => `removed the group ${group}`),
    ]);
  },
};

const withArgument = new Set(['--check-socket']);

/** Does what an option of the command line asks for. Returns the exit status; undefined when the daemon is to run. */
export async function runOption(
  args: readonly string[],
  root: string | undefined,
): Promise<number | undefined> {
  const [name, argument = '', ...more] = args;
  if (name === undefined) return undefined;
  const run = Object.hasOwn(options, name) ? options[name] : undefined;
  if (run === undefined || more.length > 0 || withArgument.has(name) !== (argument !== '')) {
    process.stderr.write(usage);
    return 2;
  }
  return await run(argument, pathsOf(root));
}
