import { failedWith } from '../kernel/errno.ts';
import { readXattrs, writeXattr } from '../kernel/xattrs.ts';
import { profiles } from './application.ts';
import type { RunningApplication } from './running.ts';

/** What a group says of the program that was put into it: for the next daemon. Only root can write it. */
type Start = Omit<RunningApplication, 'group' | 'account'>;

const NAME = 'trusted.personad.start';

/** Writes it down at the group itself, with which it ends. Groups of version 1 keep nothing on older kernels. */
export function writeStart(folder: string, start: Start): void {
  const { app, profile, rule, reason, sinceMs, by, violation, weights } = start;
  const text = JSON.stringify({ app, profile, rule, reason, sinceMs, by, violation, weights });
  try {
    writeXattr(folder, NAME, Buffer.from(text).toString('latin1'));
  } catch (error) {
    if (!failedWith(error, 'EOPNOTSUPP', 'ENOENT', 'ENODEV', 'ENOSPC')) throw error;
  }
}

/** What an earlier daemon has written. */
export function readStart(folder: string): Start | undefined {
  try {
    const text = readXattrs(folder).find(([name]) => name === NAME)?.[1];
    if (text === undefined) return undefined;
    const start = JSON.parse(Buffer.from(text, 'latin1').toString()) as Start;
    const { app, profile, rule, reason, sinceMs, by, violation, weights } = start;
    const texts = [app, rule, reason].every((one) => typeof one === 'string');
    if (!texts || !profiles.includes(profile) || !Number.isFinite(sinceMs)) return undefined;
    const told = typeof violation === 'string' ? { violation } : {};
    const had = weights === undefined ? {} : { weights };
    const from = by === 'found' ? by : 'launch';
    return { app, profile, rule, reason, sinceMs, by: from, ...told, ...had };
  } catch {
    return undefined;
  }
}
