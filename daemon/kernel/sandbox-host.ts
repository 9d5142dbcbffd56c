import { accessSync, constants, readdirSync, readlinkSync } from 'node:fs';
import { failedWith } from './errno.ts';

/** The program that makes sandboxes. */
export const bubblewrap = '/usr/bin/bwrap';

/** True where it is installed. */
export function hasBubblewrap(): boolean {
  try {
    accessSync(bubblewrap, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Folders of programs beside /usr, which are links into it on most machines: each with where it leads, or undefined for a folder. */
export type BesideUsr = readonly { path: string; target: string | undefined }[];

/** Looks which of them this machine has. */
export function besideUsr(): BesideUsr {
  return ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'].flatMap((path): BesideUsr => {
    try {
      return [{ path, target: readlinkSync(path) }];
    } catch (error) {
      return failedWith(error, 'EINVAL') ? [{ path, target: undefined }] : [];
    }
  });
}

/** True when something was installed in /opt. */
export function hasOpt(): boolean {
  try {
    return readdirSync('/opt').length > 0;
  } catch {
    return false;
  }
}
