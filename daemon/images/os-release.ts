import { type Entry, extentsOf } from './entry.ts';
import { childOf, parentOf } from './order.ts';
import type { Tree } from './tree.ts';

/** What a root tree says of itself in os-release(5). */
export interface OsFacts {
  /** ID, such as `debian`. */
  id?: string;
  /** VERSION_ID, such as `12`. */
  version?: string;
  /** PRETTY_NAME. */
  title?: string;
}

const places = ['etc/os-release', 'usr/lib/os-release'];
/** A real one has some 400 bytes. */
const bytesMax = 64 * 1024;
const valueCharsMax = 200;
const linksMax = 8;

const keys: Record<string, keyof OsFacts> = {
  ID: 'id',
  VERSION_ID: 'version',
  PRETTY_NAME: 'title',
};

/** The facts of a root tree; empty when it has no such file. */
export async function osOf(tree: Tree): Promise<OsFacts> {
  const entries = new Map(tree.entries.map((entry) => [entry.path, entry]));
  for (const place of places) {
    const file = follow(entries, place);
    if (file === undefined || (file.size ?? 0) > bytesMax) continue;
    if (extentsOf(file).length > 1 || file.extents !== undefined) continue;
    const pieces: Buffer[] = [];
    for await (const piece of tree.read(file)) pieces.push(piece);
    return parseOsRelease(Buffer.concat(pieces).toString('utf8'));
  }
  return {};
}

/** The file at a path, through links as they are usual there; undefined for anything else. */
function follow(entries: ReadonlyMap<string, Entry>, path: string): Entry | undefined {
  let entry = entries.get(path);
  for (let links = 0; entry !== undefined && links < linksMax; links += 1) {
    if (entry.type === 'file') return entry;
    const target: string | undefined = entry.target;
    if (target === undefined) return undefined;
    if (entry.type === 'hardlink') entry = entries.get(target);
    else entry = entries.get(resolve(parentOf(entry.path), target));
  }
  return undefined;
}

function resolve(folder: string, target: string): string {
  let at = target.startsWith('/') ? '' : folder;
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue;
    at = part === '..' ? parentOf(at) : childOf(at, part);
  }
  return at;
}

/** The facts in the text of an os-release file. */
export function parseOsRelease(text: string): OsFacts {
  const facts: OsFacts = {};
  for (const line of text.split('\n')) {
    const [, name = '', raw = ''] = /^([A-Z_]+)=(.*)$/.exec(line.trim()) ?? [];
    const key = keys[name];
    if (key === undefined) continue;
    const value = raw.replace(/^(["'])(.*)\1$/, '$2').replace(/\\([$"'\\`])/g, '$1');
    if (value !== '') facts[key] = value.slice(0, valueCharsMax);
  }
  return facts;
}
