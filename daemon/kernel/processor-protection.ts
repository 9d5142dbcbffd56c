import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a processor keeps the memory of programs and of the kernel apart with. */
export interface ProcessorProtection {
  /** Pages can be kept from being executed: without that the least of it is missing. Absent where the processor does not tell. */
  noExecute?: boolean;
  found: readonly string[];
  missing: readonly string[];
  /** Flaws for which the kernel has no remedy, or not a whole one; absent where it does not tell. */
  flaws?: readonly string[];
}

/** Words of /proc/cpuinfo by what they stand for. Those of x86 go when the kernel is told not to use them. */
const onX86: Readonly<Record<string, string>> = {
  'no-execute pages': 'nx',
  smep: 'smep',
  smap: 'smap',
  'protection keys': 'ospke',
  'shadow stacks': 'user_shstk',
  'branch tracking': 'ibt',
};
const onArm: Readonly<Record<string, string>> = {
  'memory tagging': 'mte',
  'branch targets': 'bti',
  'signed pointers': 'paca',
  'shadow stacks': 'gcs',
};

/** Every 64-bit ARM has these, and does not say so. */
const armHas = 'no-execute pages';

/** What the processor's own page tells, and the kernel of its flaws: the texts below `vulnerabilities`, by name. Pure. */
export function protectionOf(
  cpuinfo: string,
  vulnerabilities: ReadonlyMap<string, string> | undefined,
): ProcessorProtection {
  const [, kind, words = ''] = /^(flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo) ?? [];
  const flags = new Set(words.split(' '));
  const known = Object.entries(kind === 'flags' ? onX86 : kind === 'Features' ? onArm : {});
  const has = ([, flag]: readonly [string, string]) => flags.has(flag);
  const namesOf = (list: typeof known) => list.map(([name]) => name);
  const arm = kind === 'Features';
  const flaws =
    vulnerabilities &&
    [...vulnerabilities]
      .filter(([, text]) => /vulnerable|^unknown/i.test(text))
      .map(([name]) => name);
  return {
    ...(kind !== undefined && { noExecute: arm || flags.has('nx') }),
    found: [...(arm ? [armHas] : []), ...namesOf(known.filter(has))],
    missing: namesOf(known.filter((one) => !has(one))),
    ...(flaws && { flaws }),
  };
}

/** The same in words. */
export function protectionText({ noExecute, found, missing, flaws }: ProcessorProtection): string {
  const told = [
    found.join(', ') || (noExecute === undefined ? 'the processor does not tell' : 'none'),
    ...(missing.length === 0 ? [] : [`not here: ${missing.join(', ')}`]),
    flaws === undefined
      ? 'the kernel tells of no flaws of the processor, nor that it has none'
      : flaws.length === 0
        ? 'no flaw of the processor without a remedy'
        : `flaws of the processor without a whole remedy: ${flaws.join(', ')}`,
  ];
  return told.join('; ');
}

/** What the kernel says of each flaw that it knows; undefined where it says nothing. `folder` is another one only in tests. */
export function readVulnerabilities(
  folder = '/sys/devices/system/cpu/vulnerabilities',
): ReadonlyMap<string, string> | undefined {
  try {
    const names = readdirSync(folder).sort();
    return new Map(names.map((name) => [name, readFileSync(join(folder, name), 'utf8').trim()]));
  } catch {
    return undefined;
  }
}

/**
 * Whether a program may read what another one of its user has in memory, by kernel.yama.ptrace_scope, which is empty where the kernel has no such
 * thing. What runs apart is in a user namespace of its user's own, and there he has the right that scopes 1 and 2 ask for. Pure.
 */
export function sameUserOf(ptraceScope: string, place: 'beside' | 'apart' = 'beside'): string {
  const scope = ptraceScope.trim();
  const here = scope === '' ? 'this kernel has no such setting' : `it is ${scope} here`;
  if (place === 'apart' && scope !== '3')
    return `other programs of its user may read its memory: it is in a user namespace of theirs, and nothing but kernel.yama.ptrace_scope 3 keeps them from tracing into that (${here})`;
  const by = ` (kernel.yama.ptrace_scope: ${here})`;
  const texts: Readonly<Record<string, string>> = {
    1: 'a program may read the memory of another one of its user only if it has started that one, or is let by it',
    2: 'a program may read the memory of another one only if it is of root',
    3: 'no program may read the memory of another one',
  };
  return `${texts[scope] ?? 'a program may read the memory of every other one of its user'}${by}`;
}
