import { BadFact, checkFact } from '../fact-values.ts';
import { type Found, isRemark, type Problem, type SourceText, type Values } from '../fragment.ts';

/** A profile goes by the name of a command, but many people have tried it on the program. */
const confidence = 0.5;
/** Redirections of one profile to another. */
const REDIRECTIONS_MAX = 8;

/** Words that begin a line; those with more parts are known by their first (`dbus-user.talk`). */
const directives = new Set(
  `allow-debuggers allusers apparmor apparmor-replace apparmor-stack bind blacklist blacklist-nolog caps cgroup cpu dbus-system dbus-user
  defaultgw deterministic-exit-code deterministic-shutdown disable-mnt dns env hostname hosts-file ignore include ip ip6 iprange
  ipc-namespace join-or-start keep-config-pulse keep-dev-shm keep-fd keep-shell-rc keep-var-tmp landlock mac machine-id
  memory-deny-write-execute mkdir mkfile mtu name net netfilter netfilter6 netlock netmask netns nice no3d noautopulse noblacklist
  nodbus nodvd noexec nogroups noinput nonewprivs noprinters noroot nosound notpm notv nou2f novideo nowhitelist overlay overlay-named
  overlay-tmpfs private private-bin private-cache private-cwd private-dev private-etc private-home private-lib private-opt
  private-srv private-tmp protocol quiet read-only read-write restrict-namespaces rlimit rlimit-as rlimit-cpu rlimit-fsize
  rlimit-nofile rlimit-nproc rlimit-sigpending rmenv seccomp seccomp-error-action shell tab timeout tmpfs tracelog veth-name warn
  whitelist whitelist-ro writable-etc writable-run-user writable-var writable-var-log x11 xephyr-screen`.split(
    /\s+/,
  ),
);

/** A program that is given all of these has been looked at as one that deals with what strangers send. */
const hardening = ['caps.drop all', 'nonewprivs', 'noroot', 'seccomp'];

/** Folders of keys: that a program may use them makes them no data of its own. */
const keys = /^~\/\.(ssh|gnupg|pki)(\/|$)/;

interface Profile {
  hardened: Set<string>;
  /** Folders of its own. */
  folders: Set<string>;
  programs: Set<string>;
  redirects: { to: string; from: string }[];
}

function homeFolder(argument: string): string | undefined {
  const path = argument.replace(/^\$\{HOME\}\//, '~/').replace(/\/$/, '');
  return path.startsWith('~/.') && !/[*?[\]]/.test(path) && !keys.test(path) ? path : undefined;
}

const letters = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '');
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** True when the folder is called like the profile. */
function isCalled(folder: string, file: string): boolean {
  const name = letters(baseName(file).replace(/\.profile$/, ''));
  return name !== '' && letters(folder).includes(name);
}

function understand({ file, text }: SourceText, problems: Problem[]): Profile {
  const profile: Profile = {
    hardened: new Set(),
    folders: new Set(),
    programs: new Set(),
    redirects: [],
  };
  for (const [index, raw] of text.split('\n').entries()) {
    if (isRemark(raw)) continue;
    const from = `${file}:${index + 1}`;
    const line = raw
      .replace(/^\s*\?[A-Z0-9_]+:\s*/, '')
      .replace(/\s+#.*$/, '')
      .trim();
    const [word = '', argument = ''] = /^(\S+)\s*(.*)$/s.exec(line)?.slice(1) ?? [];
    if (!directives.has(word.split('.')[0] ?? '')) {
      problems.push({ from, text: `${JSON.stringify(word.slice(0, 40))} is no directive` });
      continue;
    }
    const hard = hardening.find((one) => one === line || (one === word && one !== 'caps.drop all'));
    if (hard !== undefined) profile.hardened.add(hard);
    const folder = homeFolder(argument);
    // That a program may see a folder does not make it its own, unless it is called so.
    const isOwn = /^(whitelist|mkdir)$/.test(word);
    if (folder !== undefined && (isOwn || (word === 'noblacklist' && isCalled(folder, file))))
      profile.folders.add(folder);
    if (word === 'private-bin')
      for (const name of argument.split(','))
        if (/^[\w.+-]+$/.test(name)) profile.programs.add(name);
    if (word === 'include' && argument.endsWith('.profile'))
      profile.redirects.push({ to: argument.slice(argument.lastIndexOf('/') + 1), from });
  }
  return profile;
}

/** `profile` with what those add that it leads to, within the one folder. */
function whole(
  name: string,
  all: ReadonlyMap<string, Profile>,
  problems: Problem[],
  seen: readonly string[] = [],
): Profile {
  const profile = all.get(name) as Profile;
  const sum: Profile = { ...profile };
  for (const { to, from } of profile.redirects) {
    const way = [...seen, name];
    if (!all.has(to)) {
      problems.push({ from, text: `${JSON.stringify(to.slice(0, 80))} is not in this folder` });
      continue;
    }
    if (way.includes(to) || way.length > REDIRECTIONS_MAX) {
      problems.push({ from, text: `${to} leads back, or too far` });
      continue;
    }
    const other = whole(to, all, [], way);
    sum.hardened = new Set([...sum.hardened, ...other.hardened]);
    sum.folders = new Set([...sum.folders, ...other.folders]);
    sum.programs = new Set([...sum.programs, ...other.programs]);
  }
  return sum;
}

function valuesOf({ hardened, folders, programs }: Profile): Values {
  const paths = [...folders].slice(0, 64);
  const isCache = (path: string) => path.startsWith('~/.cache/');
  const data = checkFact(
    'data',
    paths.filter((path) => !isCache(path)),
  );
  const cache = checkFact('cache', paths.filter(isCache));
  const dependencies = checkFact('dependencies', [...programs].slice(0, 64));
  return {
    ...(hardened.size === hardening.length && { security: 'sensitive' as const }),
    ...(data.length > 0 && { data }),
    ...(cache.length > 0 && { cache }),
    ...(dependencies.length > 0 && { dependencies }),
  };
}

/**
 * Understands a folder of firejail profiles, each for the commands of its name: how far it was thought to need a sandbox, the folders and programs
 * that it uses. A profile that leads to another in the folder has what that one says. Pure.
 */
export function parseFirejail(sources: readonly SourceText[]): Found {
  const found: Found = { fragments: [], problems: [] };
  const nameOf = ({ file }: SourceText) => baseName(file);
  const all = new Map(sources.map((one) => [nameOf(one), understand(one, found.problems)]));
  for (const source of sources) {
    const { file, dateMs } = source;
    const name = nameOf(source).replace(/\.profile$/, '');
    try {
      const values = valuesOf(whole(nameOf(source), all, found.problems));
      const of = { name: checkFact('name', name) };
      if (Object.keys(values).length > 0)
        found.fragments.push({ of, source: 'imported', from: file, confidence, dateMs, values });
    } catch (error) {
      if (!(error instanceof BadFact)) throw error;
      found.problems.push({ from: file, text: `something in it ${error.message}` });
    }
  }
  return found;
}
