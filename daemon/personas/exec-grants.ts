import { constants, fstatSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import type { Account } from '../kernel/accounts.ts';
import { OPEN, openFile, openInRoot } from '../kernel/openat.ts';
import { type SessionGrants, sessionOptions } from '../kernel/session-sockets.ts';

/** Things a program in a slot may be given; everything is off unless asked for. */
export interface Grants extends SessionGrants {
  net?: boolean | undefined;
  home?: boolean | undefined;
  folders?: { path: string; write?: boolean | undefined }[] | undefined;
  root?: boolean | undefined;
}

/** Who a program runs as, and where its tree is. */
export interface GrantPlace {
  tree: string;
  uid: number;
  account: Account | undefined;
  notes: string[];
}

/**
 * Kind of what stands at a path of the tree; a link at its end is none of them. Goes by descriptor and as a program
 * inside would: links and dots that a persona's author or a caller chose ask nothing about the host.
 */
export function kindIn(tree: string, path: string): 'folder' | 'file' | 'other' | 'absent' {
  try {
    using root = openFile(tree, OPEN.path | constants.O_DIRECTORY);
    const inside = Buffer.from(path).toString('latin1');
    using found = openInRoot(root, inside, OPEN.path | constants.O_NOFOLLOW);
    const stat = fstatSync(found.number);
    return stat.isDirectory() ? 'folder' : stat.isFile() ? 'file' : 'other';
  } catch {
    return 'absent';
  }
}

/** Places that are empty folders of the sandbox itself, so that anything may be shown below. */
const OWN_PLACES = ['/tmp/', '/run/'];

function shown(place: GrantPlace, from: string, write: boolean, ownPlaces: string[]): string[] {
  const fits =
    ownPlaces.some((own) => from.startsWith(own)) || kindIn(place.tree, from) === 'folder';
  if (!fits) {
    throw new PersonaError('bad-value', {
      name: from,
      reason: 'the persona has no folder of this path to show it at',
    });
  }
  return [write ? '--bind' : '--ro-bind', from, from];
}

function homeOptions(place: GrantPlace): string[] {
  const home = place.account?.home;
  if (home === undefined || !/^\/[^/]/.test(home)) {
    throw new PersonaError('bad-value', {
      name: 'home',
      reason: `uid ${place.uid} has no home folder`,
    });
  }
  if (place.uid === 0) {
    throw new PersonaError('bad-value', {
      name: 'home',
      reason: "programs of root have other ids inside a slot, and could not read root's home",
    });
  }
  const top = `/${home.split('/')[1]}`;
  // The persona has no folder of this user's name, and the user cannot make one in it: give the parent a fresh one.
  const parent = home === top ? [] : ['--tmpfs', top];
  if (kindIn(place.tree, top) !== 'folder') {
    throw new PersonaError('bad-value', {
      name: 'home',
      reason: `the persona has no folder ${top}`,
    });
  }
  return [...parent, '--bind', home, home, '--setenv', 'HOME', home];
}

function netOptions(place: GrantPlace): string[] {
  const names = '/etc/resolv.conf';
  if (kindIn(place.tree, names) === 'file') return ['--ro-bind-try', names, names];
  place.notes.push(
    'names are resolved as the persona says: it has no plain /etc/resolv.conf to replace',
  );
  return [];
}

/** The options of bubblewrap for what was granted. Throws bad-value for what this persona or user cannot have. */
export function grantOptions(grants: Grants, place: GrantPlace): string[] {
  const options: string[] = [];
  if (grants.net) options.push(...netOptions(place));
  if (grants.home) options.push(...homeOptions(place));
  options.push(...sessionOptions(grants, place.uid));
  const home = grants.home === true ? place.account?.home : undefined;
  const own =
    home === undefined ? OWN_PLACES : [...OWN_PLACES, `${home}/`, `/${home.split('/')[1]}/`];
  for (const { path, write } of grants.folders ?? []) {
    options.push(...shown(place, path, write === true, own));
  }
  return options;
}
