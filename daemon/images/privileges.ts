import { type Entry, isWhiteout } from './entry.ts';
import type { Item } from './tree.ts';

/** Why an entry needs root's word before it is imported. */
export type Privilege = 'setuid' | 'setgid' | 'capability' | 'device';

/** Entries of a tree that carry rights, counted, with the first of them by path. */
export interface Privileges {
  setuid: number;
  setgid: number;
  capability: number;
  device: number;
  /** The first ones, as latin1 paths without a leading slash. */
  examples: { path: string; why: Privilege }[];
}

const examplesMax = 200;

/** Which rights an entry carries; a folder's setgid bit only hands down a group and is none. */
export function privilegesOf(entry: Entry): Privilege[] {
  const found: Privilege[] = [];
  if (entry.type === 'file' && (entry.mode & 0o4000) !== 0) found.push('setuid');
  if (entry.type === 'file' && (entry.mode & 0o2000) !== 0) found.push('setgid');
  if (entry.xattrs.some(([name]) => name === 'security.capability')) found.push('capability');
  const device = entry.type === 'char' || entry.type === 'block';
  if (device && !isWhiteout(entry)) found.push('device');
  return found;
}

/** Passes items on and notes the privileges among them. */
export function listingPrivileges(source: AsyncIterable<Item> | Iterable<Item>): {
  items: AsyncIterable<Item>;
  found: Privileges;
} {
  const found: Privileges = { setuid: 0, setgid: 0, capability: 0, device: 0, examples: [] };
  async function* items(): AsyncGenerator<Item> {
    for await (const item of source) {
      for (const why of privilegesOf(item.entry)) {
        found[why] += 1;
        if (found.examples.length < examplesMax)
          found.examples.push({ path: item.entry.path, why });
      }
      yield item;
    }
  }
  return { items: items(), found };
}
