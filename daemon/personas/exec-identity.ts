import { constants, fstatSync, readSync } from 'node:fs';
import type { Account } from '../kernel/accounts.ts';
import { OPEN, openBeneath, openFile } from '../kernel/openat.ts';
import { type GrantPlace, kindIn } from './exec-grants.ts';

/** A text that the caller's process hands to the launcher on a descriptor. */
export interface ExecData {
  fd: number;
  text: string;
}

/** Larger lists of accounts stay as they are. */
const listBytesMax = 64 * 1024;
const MODE_OTHERS_READ = 0o004;
const passwd = '/etc/passwd';
const group = '/etc/group';

/** A list of accounts that everybody inside may read, or undefined. No link is followed: the launcher mounts at this very place. */
function listIn(tree: string, path: string): string | undefined {
  try {
    using root = openFile(tree, OPEN.path | constants.O_DIRECTORY);
    using file = openBeneath(root, path.slice(1), { flags: OPEN.read | OPEN.nonBlocking });
    const stat = fstatSync(file.number);
    if (!stat.isFile() || stat.size > listBytesMax || (stat.mode & MODE_OTHERS_READ) === 0)
      return undefined;
    const buffer = Buffer.alloc(listBytesMax);
    const text = buffer.toString('utf8', 0, readSync(file.number, buffer, 0, listBytesMax, 0));
    return text === '' || text.endsWith('\n') ? text : `${text}\n`;
  } catch {
    return undefined;
  }
}

/** True when a line of such a list has this number in its third field. */
const knows = (list: string, id: number): boolean =>
  list.split('\n').some((line) => line.split(':')[2] === String(id));

/** Where a program inside may write without being given anything: its home in the persona, or the fresh /tmp. */
function homeIn({ tree }: GrantPlace, account: Account | undefined): string {
  if (account && account.home !== '/' && kindIn(tree, account.home) === 'folder')
    return account.home;
  return kindIn(tree, '/tmp') === 'folder' ? '/tmp' : '/';
}

/**
 * Options and texts that make a user of this machine known inside: the persona's own lists of accounts know nobody of
 * it, and shells, ssh or git ask them for a name and a home. Nothing in the slot is written. `firstFd`: the
 * first descriptor that is free.
 */
export function identityOf(
  place: GrantPlace,
  gid: number,
  firstFd: number,
): { options: string[]; data: ExecData[] } {
  const { tree, uid, account, notes } = place;
  const home = homeIn(place, account);
  const name = account?.name ?? `uid${uid}`;
  const options = ['--setenv', 'HOME', home, '--setenv', 'USER', name, '--setenv', 'LOGNAME', name];
  const data: ExecData[] = [];
  const add = (path: string, id: number, line: string) => {
    const list = listIn(tree, path);
    if (list !== undefined && knows(list, id)) return;
    if (list === undefined) {
      if (kindIn(tree, path) !== 'absent')
        notes.push(`the persona's ${path} does not know ${name}, and is no plain list to add to`);
      return;
    }
    const fd = firstFd + data.length;
    options.push('--perms', '0644', '--ro-bind-data', String(fd), path);
    data.push({ fd, text: `${list}${line}\n` });
  };
  add(passwd, uid, `${name}:x:${uid}:${gid}::${account?.home ?? home}:/bin/sh`);
  add(group, gid, `${name}:x:${gid}:`);
  return { options, data };
}
