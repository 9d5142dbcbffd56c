import type { Entry } from './entry.ts';
import { badArchive } from './tar-headers.ts';
import type { Tree } from './tree.ts';

/** A blob as an index or a manifest names it. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string; variant: string };
  annotations: Record<string, string>;
}

/** One JSON file of an image. Registries refuse manifests over 4 MiB. */
const jsonBytesMax = 4 * 1024 * 1024;
/** Links followed from one file to the next inside an archive (old `docker save` makes them). */
const stepsMax = 8;

/** The files of an image layout or archive, by path; links inside it are followed. */
export class ImageFiles {
  private readonly tree: Tree;
  private readonly byPath: Map<string, Entry>;

  constructor(tree: Tree) {
    this.tree = tree;
    this.byPath = new Map(tree.entries.map((entry) => [entry.path, entry]));
  }

  has(path: string): boolean {
    return this.find(path) !== undefined;
  }

  /** Length of the file and its bytes. @throws PersonaError 'bad-archive' when it is not there. */
  open(path: string): { size: number; bytes: AsyncIterable<Buffer> } {
    const entry = this.find(path);
    if (entry === undefined)
      throw badArchive(`the container image lacks its file ${JSON.stringify(path)}`);
    if (entry.extents !== undefined) throw badArchive(`${JSON.stringify(path)} is a sparse file`);
    return { size: entry.size ?? 0, bytes: this.tree.read(entry) };
  }

  /** The whole content of a small file. @throws PersonaError 'bad-archive'. */
  async load(path: string): Promise<Buffer> {
    const { size, bytes } = this.open(path);
    if (size > jsonBytesMax)
      throw badArchive(`${JSON.stringify(path)} is over ${jsonBytesMax} bytes`);
    const pieces: Buffer[] = [];
    for await (const piece of bytes) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  private find(path: string): Entry | undefined {
    let at = path;
    for (let steps = 0; steps < stepsMax; steps++) {
      const entry = this.byPath.get(at);
      if (entry === undefined || entry.type === 'file') return entry;
      if (entry.type === 'hardlink') at = entry.target ?? '';
      else if (entry.type === 'symlink') at = joined(at, entry.target ?? '');
      else return undefined;
    }
    return undefined;
  }
}

/** Where a relative link in the file `from` leads, as a path inside the tree. */
function joined(from: string, target: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** A JSON object out of bytes. @throws PersonaError 'bad-archive' naming `what`. */
export function jsonObject(bytes: Buffer, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw badArchive(`${what} is not JSON`);
  }
  if (typeof value !== 'object' || value === null) throw badArchive(`${what} is not a JSON object`);
  return value as Record<string, unknown>;
}

/** A list of descriptors. @throws PersonaError 'bad-archive'. */
export function descriptorsOf(value: unknown, what: string): Descriptor[] {
  if (!Array.isArray(value) || value.length > 1000) throw badArchive(`${what} is not a list`);
  return value.map((item) => descriptorOf(item, what));
}

/** One descriptor. @throws PersonaError 'bad-archive'. */
export function descriptorOf(value: unknown, what: string): Descriptor {
  const { digest, size, mediaType, platform, annotations } = (value ?? {}) as Record<
    string,
    unknown
  >;
  if (typeof digest !== 'string' || !/^sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})$/.test(digest)) {
    throw badArchive(`${what} holds a wrong digest`);
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw badArchive(`${what} holds a wrong size`);
  const descriptor: Descriptor = {
    digest,
    size: size as number,
    mediaType: typeof mediaType === 'string' ? mediaType : '',
    annotations: textsOf(annotations),
  };
  if (typeof platform !== 'object' || platform === null) return descriptor;
  const { os = '', architecture = '', variant = '' } = textsOf(platform);
  return { ...descriptor, platform: { os, architecture, variant } };
}

function textsOf(value: unknown): Record<string, string> {
  const pairs = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(
    pairs.filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  );
}
