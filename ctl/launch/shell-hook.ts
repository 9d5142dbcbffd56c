/** Shells that a hook can be made for. */
export const hookShells = ['bash', 'zsh', 'fish'] as const;
export type HookShell = (typeof hookShells)[number];

/** A command of an application, as people type it. */
export interface HookedCommand {
  app: string;
  command: string;
}

const idPattern = /^[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._+-]{0,127}$/;
/** What is the name of a function in all three shells, and of no word that they keep for themselves. */
const commandPattern = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;
const kept = new Set(
  'alias bg builtin case cd command do done echo elif else end esac eval exec exit export fg fi for function if in jobs kill printf pwd read return select set shift source test then time trap type ulimit umask unalias unset until wait while personad_unhook'.split(
    ' ',
  ),
);

/** The commands of applications that can be hooked: nothing in them has a meaning to a shell. Pure. */
export function hookedCommands(
  all: readonly { id: string; executables: readonly string[] }[],
): HookedCommand[] {
  const found = new Map<string, string>();
  for (const { id, executables } of all)
    for (const path of executables) {
      const command = path.slice(path.lastIndexOf('/') + 1);
      if (!idPattern.test(id) || !commandPattern.test(command) || kept.has(command)) continue;
      // Two applications of one command: the command alone does not say which is meant.
      found.set(command, found.has(command) && found.get(command) !== id ? '' : id);
    }
  return [...found].filter(([, app]) => app !== '').map(([command, app]) => ({ app, command }));
}

const posix = ({ app, command }: HookedCommand): string =>
  `function ${command} {
  if command -v persona-run >/dev/null 2>&1; then persona-run ${app} -- ${command} "$@"
  else command ${command} "$@"; fi
}`;

const fish = ({ app, command }: HookedCommand): string =>
  `function ${command} --wraps ${command}
  if command -sq persona-run; persona-run ${app} -- ${command} $argv
  else; command ${command} $argv; end
end`;

/**
 * Functions that start these commands through the launcher, and `personad_unhook`, which takes them off. Where the launcher is gone, a command is
 * what it always was. Pure.
 */
export function shellHook(shell: HookShell, all: readonly HookedCommand[]): string {
  const names = all.map(({ command }) => command).join(' ');
  const functions = all.map(shell === 'fish' ? fish : posix);
  const off =
    shell === 'fish'
      ? `function personad_unhook\n  functions --erase ${names} personad_unhook\nend`
      : `function personad_unhook { unset -f ${names} personad_unhook; }`;
  return `${[...functions, off].join('\n')}\n`;
}
