import { applicationIdPattern } from '../../ipc/values.ts';
import { isClosed, launchWords } from './hooked.ts';

/** Shells that a hook can be made for. */
export const hookShells = ['bash', 'zsh', 'fish'] as const;
export type HookShell = (typeof hookShells)[number];

/** A command of an application, as people type it. */
export interface HookedCommand {
  app: string;
  command: string;
  /** It starts apart or not at all. */
  closed?: true;
}

/** What is the name of a function in all three shells, and of no word that they keep for themselves. */
const commandPattern = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;
const kept = new Set(
  'alias bg builtin case cd command do done echo elif else end esac eval exec exit export fg fi for function if in jobs kill printf pwd read return select set shift source test then time trap type ulimit umask unalias unset until wait while personad_unhook'.split(
    ' ',
  ),
);

/** An application as the daemon lists it. */
interface Line {
  id: string;
  profile: string;
  rule: string;
  executables: readonly string[];
}

/** The commands of applications that can be hooked: nothing in them has a meaning to a shell. Pure. */
export function hookedCommands(all: readonly Line[]): HookedCommand[] {
  const found = new Map<string, Line[]>();
  for (const line of all)
    for (const path of line.executables) {
      const command = path.slice(path.lastIndexOf('/') + 1);
      if (applicationIdPattern.test(line.id) && commandPattern.test(command) && !kept.has(command))
        found.set(command, [...(found.get(command) ?? []), line]);
    }
  return [...found].flatMap(([command, lines]) => {
    const app = lines[0]?.id ?? '';
    // The command alone does not say which of several is meant. Of those that are kept apart the daemon starts each so, or refuses it, whichever is named.
    const isOne = lines.every(({ id }) => id === app);
    const areApart = lines.every(({ profile }) => profile === 'secure');
    if (!isOne && !areApart) return [];
    return [{ app, command, ...(lines.some(isClosed) && { closed: true }) }];
  });
}

/** Asks for a program that lies in a folder of PATH, whatever else has its name. */
const lookUp: Record<HookShell, string> = {
  bash: 'type -P',
  zsh: 'whence -p',
  fish: 'command -s',
};

/**
 * Where the program is gone, a command is what it always was: the shell says that it is not found. So it is where the launcher is gone, but for
 * what starts apart or not at all.
 */
function functionOf(shell: HookShell, { app, command, closed }: HookedCommand): string {
  const there = (program: string) => `${lookUp[shell]} ${program} >/dev/null 2>&1`;
  const launch = `persona-run ${launchWords({ app, closed })} ${command}`;
  const plain = `command ${command} ${shell === 'fish' ? '$argv' : '"$@"'}`;
  const without = closed
    ? `echo '${command} is to run apart, and persona-run is gone: install personad again' >&2; return 125`
    : plain;
  if (shell === 'fish')
    return `if not functions -q ${command}
  function ${command}
    if not ${there(command)}; ${plain}
    else if ${there('persona-run')}; ${launch} $argv
    else; ${without}; end
  end
end`;
  return `if ! typeset -f ${command} >/dev/null; then function ${command} {
  if ! ${there(command)}; then ${plain}
  elif ${there('persona-run')}; then ${launch} "$@"
  else ${without}; fi
} fi`;
}

/** The names of functions of ours are known by what they do: one that somebody has written since is his. */
function unhook(shell: HookShell, names: string): string {
  if (shell === 'fish')
    return `function personad_unhook
  for name in ${names}
    if functions $name | string match -q '*persona-run*'; functions -e $name; end
  end
  functions -e personad_unhook
end`;
  return `function personad_unhook {
  local name
  for name in ${names}; do
    case "$(typeset -f "$name")" in *persona-run*) unset -f "$name" ;; esac
  done
  unset -f personad_unhook
}`;
}

/**
 * Functions that start these commands through the launcher, and `personad_unhook`, which takes them off; read again they replace those of before.
 * Only in a shell that somebody types into, and never in the place of a function of his own. Pure.
 */
export function shellHook(shell: HookShell, all: readonly HookedCommand[]): string {
  const names = all.map(({ command }) => command).join(' ');
  const functions = all.map((one) => functionOf(shell, one));
  const [begin, end] =
    shell === 'fish'
      ? ['if status is-interactive\nfunctions -q personad_unhook; and personad_unhook', 'end']
      : [
          'if [[ $- == *i* ]]; then\nif typeset -f personad_unhook >/dev/null; then personad_unhook; fi',
          'fi',
        ];
  return `${[begin, ...functions, unhook(shell, names), end].join('\n')}\n`;
}
