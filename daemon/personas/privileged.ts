import { PersonaError } from '../../ipc/errors.ts';
import type { Privileges } from '../images/privileges.ts';

/** Longest path that is listed; the list is kept with the persona. */
const shownCharsMax = 300;

const words = {
  setuid: 'set-user-id program',
  setgid: 'set-group-id program',
  capability: 'file capability',
  device: 'device node',
} as const;

/** What gives rights in an image, as lines for people: the first ones, and how many more there are. */
export function privilegedLines(found: Privileges): string[] {
  const total = found.setuid + found.setgid + found.capability + found.device;
  const lines = found.examples.map(({ path, why }) => {
    const text = `/${Buffer.from(path, 'latin1').toString('utf8')}`;
    return `${words[why]} ${text.slice(0, shownCharsMax)}`;
  });
  if (total > lines.length) lines.push(`and ${total - lines.length} more`);
  return lines;
}

/** Refuses what gives rights unless root has said that it is wanted. Throws permission-denied with the first of them. */
export function refusePrivileged(found: Privileges, allowed: boolean): string[] {
  const lines = privilegedLines(found);
  if (lines.length === 0 || allowed) return lines;
  const [first, ...more] = lines;
  const others = more.length === 0 ? '' : ` and ${more.length} more like it`;
  const error = new PersonaError('permission-denied', {
    reason: `it brings a ${first}${others}, which needs root's word`,
    privileged: lines.slice(0, 20),
  });
  error.hint = 'Look at them; then, as root: the same command with --yes.';
  throw error;
}

/** Whether root has said that privileged files are wanted. Nobody else's word counts. */
export function isAllowedBy(uid: number, allowPrivileged: boolean | undefined): boolean {
  return allowPrivileged === true && uid === 0;
}
