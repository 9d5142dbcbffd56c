import { dataBytes, type Entry, isOpaque, isWhiteout, shownPath } from './entry.ts';
import { badImage, overLimit } from './faults.ts';
import type { Limits } from './limits.ts';
import { comparePaths, isBelow, parentOf } from './order.ts';

/**
 * What kind of tree a sequence is: only a layer may hold whiteouts and opaque folders; `uppers` are writable layers as
 * they lie on the disk, with everything that overlayfs noted in them.
 */
export type SequenceKind = 'tree' | 'layer' | 'uppers';

/**
 * Checks entries one after the other: order, parents, hard-link targets, and the limits that count
 * over a whole tree. Each entry has passed `checkEntry` before.
 */
export class SequenceCheck {
  entries = 0;
  private bytes = 0;
  private metadata = 0;
  private previous = '';
  /** The folders from the root to the last entry. */
  private readonly folders: string[] = [];
  /** Everything a hard link may point at. */
  private readonly linkable = new Set<string>();
  private readonly limits: Limits;
  private readonly kind: SequenceKind;
  private readonly linksKnown: boolean;

  /** With `linksKnown` the caller made the hard links itself: their targets need not be remembered. */
  constructor(limits: Limits, kind: SequenceKind, linksKnown = false) {
    this.limits = limits;
    this.kind = kind;
    this.linksKnown = linksKnown;
  }

  /** Takes the next entry. Throws PersonaError 'bad-image' or 'limit-exceeded'. */
  next(entry: Entry): void {
    if (++this.entries > this.limits.entries) {
      throw overLimit('the number of entries', this.limits.entries);
    }
    this.bytes += dataBytes(entry);
    if (this.bytes > this.limits.dataBytes) {
      throw overLimit('the content of all files', `${this.limits.dataBytes} bytes`);
    }
    this.metadata += metadataBytes(entry);
    if (this.metadata > this.limits.metadataBytes) {
      throw overLimit('all names and attributes', `${this.limits.metadataBytes} bytes`);
    }
    this.place(entry);
    if (this.kind === 'tree' && (isWhiteout(entry) || isOpaque(entry))) {
      throw badImage(`${shownPath(entry.path)} is a deletion mark, and this is no layer`);
    }
    if (entry.type === 'dir') this.folders.push(entry.path);
    else if (this.linksKnown) return;
    else if (entry.type !== 'hardlink') {
      if (!isWhiteout(entry)) this.linkable.add(entry.path);
    } else if (!this.linkable.has(entry.target ?? '')) {
      throw badImage(`${shownPath(entry.path)} is a hard link to nothing before it`);
    }
  }

  /** Ends the sequence. Throws PersonaError 'bad-image' when it held nothing. */
  end(): void {
    if (this.entries === 0) throw badImage('it holds no entries, not even a root');
  }

  private place(entry: Entry): void {
    const path = entry.path;
    if (this.entries === 1) {
      if (path !== '') throw badImage('the first entry is not the root');
      return;
    }
    if (comparePaths(this.previous, path) >= 0) {
      throw badImage(`${shownPath(path)} stands out of order, or twice`);
    }
    this.previous = path;
    while (this.folders.length > 1 && !isBelow(path, this.folders.at(-1) as string)) {
      this.folders.pop();
    }
    if (this.folders.at(-1) !== parentOf(path)) {
      throw badImage(`${shownPath(path)} has no folder of its own before it`);
    }
  }
}

/** What an entry costs in memory, roughly: the bytes of its strings and extents. */
function metadataBytes(entry: Entry): number {
  let bytes = entry.path.length + (entry.target?.length ?? 0) + 16 * (entry.extents?.length ?? 0);
  for (const [name, value] of entry.xattrs) bytes += name.length + value.length;
  return bytes;
}
