/** Names that change how the launcher or a shell starts: never taken from a persona (SECURITY 13). */
const DENIED =
  /^(LD_.*|NODE_.*|BASH_.*|GCONV_PATH|GLIBC_TUNABLES|LOCPATH|NLSPATH|MALLOC_.*|RES_OPTIONS|HOSTALIASES|ENV|IFS|PS4|SHELLOPTS|BASHOPTS|PROMPT_COMMAND|PERL5?(LIB|OPT|DB)|PYTHON(PATH|HOME|STARTUP|INSPECT)|RUBY(LIB|OPT)|GIT_.*|SSH_AUTH_SOCK|DBUS_SESSION_BUS_ADDRESS|XDG_RUNTIME_DIR)$/;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/** True when a persona may set this variable for programs in it. */
export function mayBeSet(name: string): boolean {
  return NAME.test(name) && !DENIED.test(name);
}

/** What the launcher itself starts with: nothing of the persona's. */
export const LAUNCHER_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
};

/** Options that set the persona's variables inside; which were left out is told in `notes`. */
export function setenvOptions(environment: Record<string, string>, notes: string[]): string[] {
  const options: string[] = [];
  for (const [name, value] of Object.entries(environment)) {
    if (value.includes('\0') || !mayBeSet(name))
      notes.push(`not set, because a persona may not: ${name}`);
    else options.push('--setenv', name, value);
  }
  return options;
}
