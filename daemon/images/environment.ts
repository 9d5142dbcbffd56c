import { PersonaError } from '../../ipc/errors.ts';
import { ospMembers } from './osp-members.ts';

/**
 * Variables that make a program load code, change how its parts are found, or change how a shell
 * reads its input. A persona cannot set them: they would reach every program started in a slot, also
 * those that check rights. PATH is not among them, but has to hold absolute folders only.
 */
const deniedExactly = new Set([
  'BASH_ENV',
  'BASHOPTS',
  'CDPATH',
  'ENV',
  'FPATH',
  'GCONV_PATH',
  'GETCONF_DIR',
  'GLIBC_TUNABLES',
  'GLOBIGNORE',
  'HOSTALIASES',
  'IFS',
  'JAVA_TOOL_OPTIONS',
  'JDK_JAVA_OPTIONS',
  'LOCALDOMAIN',
  'LOCPATH',
  'NIS_PATH',
  'NLSPATH',
  'NULLCMD',
  'PROMPT_COMMAND',
  'PS4',
  'READNULLCMD',
  'RESOLV_HOST_CONF',
  'RES_OPTIONS',
  'SHELLOPTS',
  'TMPPREFIX',
  'TZDIR',
  'ZDOTDIR',
  '_JAVA_OPTIONS',
]);

const deniedPrefixes = [
  'BASH_FUNC_',
  'DYLD_',
  'LD_',
  'MALLOC_',
  'NODE_',
  'PERL',
  'PERSONA_',
  'PYTHON',
  'RUBY',
  'SUDO_',
];

const valueBytesMax = 32 * 1024;

/** What is wrong with a variable that a persona wants to set, or undefined. */
export function environmentProblem(name: string, value: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) return 'its name is no name of a variable';
  if (deniedExactly.has(name) || deniedPrefixes.some((prefix) => name.startsWith(prefix))) {
    return 'a persona may not set this variable';
  }
  if (/[\0\n\r]/.test(value) || !value.isWellFormed()) return 'its value has a line break or a NUL';
  if (Buffer.byteLength(value) > valueBytesMax) return `its value is over ${valueBytesMax} bytes`;
  if (name === 'PATH' && !value.split(':').every((folder) => folder.startsWith('/'))) {
    return 'PATH has to hold absolute folders only';
  }
  return undefined;
}

/** Names and values of all variables of one persona. Every generation of a slot keeps them, every program in it is given them. */
const environmentBytesMax = 32 * 1024;

/** Throws bad-persona for more variables than a new persona may bring. Those from before this limit stay as they are. */
export function checkEnvironmentBytes(environment: Readonly<Record<string, string>>): void {
  const bytes = Object.entries(environment).reduce(
    (sum, [name, value]) => sum + name.length + Buffer.byteLength(value),
    0,
  );
  if (bytes <= environmentBytesMax) return;
  throw new PersonaError(
    'bad-persona',
    `the variables in ${ospMembers.runtime} have ${bytes} bytes together, over ${environmentBytesMax}`,
  );
}

/** The variables in the form of environment.d(5), for a system that boots on the persona. */
export function environmentFile(environment: Readonly<Record<string, string>>): string {
  const lines = Object.keys(environment)
    .sort()
    .map((name) => `${name}="${quoted(environment[name] ?? '')}"`);
  return lines.map((line) => `${line}\n`).join('');
}

/** Inside double quotes; a dollar is doubled, because values are expanded after they are read. */
function quoted(value: string): string {
  return value.replace(/["\\`]/g, (char) => `\\${char}`).replaceAll('$', '$$$$');
}
