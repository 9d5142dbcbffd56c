/** What a machine can be asked with, whether systemd runs in it or not. */
export interface Asked {
  ok(...argv: string[]): Promise<string>;
}

const lines = (text: string): string[] => text.split('\n').filter(Boolean).sort();

/** What an installation may leave on a machine, as sorted lists that can be compared. */
export interface Traces {
  /** Paths below /, without what the machine itself writes all the time. */
  files: string[];
  mounts: string[];
  groups: string[];
}

/** Everything of ours that an outsider can find. */
export async function tracesOf(machine: Asked): Promise<Traces> {
  // dpkg and systemd keep their own records; caches of the loader and of man are theirs too.
  const others = [
    '/proc',
    '/sys',
    '/dev',
    '/tmp',
    '/root',
    '/var/lib/dpkg',
    '/var/log',
    '/var/cache',
  ];
  const skip = others.flatMap((path) => ['-path', path, '-prune', '-o']);
  const names = ['-path', '*persona*', '-print'];
  return {
    files: lines(await machine.ok('find', '/', ...skip, ...names)),
    mounts: lines(await machine.ok('sh', '-c', 'grep -i "persona[/: ]" /proc/self/mountinfo || :')),
    groups: lines(await machine.ok('find', '/sys/fs/cgroup', '-type', 'd', '-name', '*persona*')),
  };
}
