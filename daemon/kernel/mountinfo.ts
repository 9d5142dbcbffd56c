import { readProcText } from './proc-text.ts';

/** One line of /proc/PID/mountinfo. */
export interface MountLine {
  id: number;
  parent: number;
  /** `major:minor` of the file system. */
  device: string;
  /** The part of the file system that is mounted. */
  root: string;
  /** Where, as the reading process sees it. */
  at: string;
  options: string[];
  /** Peer group when shared, master group when slave. */
  shared?: number;
  master?: number;
  type: string;
  source: string;
  superOptions: string[];
}

/** Undoes the kernel's octal escapes for space, tab, newline and backslash. Names stay latin1 (one character a byte). */
function plain(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

function groupOf(fields: string[], word: string): number | undefined {
  const field = fields.find((one) => one.startsWith(`${word}:`));
  return field === undefined ? undefined : Number(field.slice(word.length + 1));
}

function parseLine(line: string): MountLine | undefined {
  const fields = line.split(' ');
  const dash = fields.indexOf('-', 6);
  if (dash < 0) return undefined;
  const [id, parent, device, root, at, options] = fields;
  const [type, source, superOptions] = fields.slice(dash + 1);
  if (superOptions === undefined || type === undefined || source === undefined) return undefined;
  const tags = fields.slice(6, dash);
  const shared = groupOf(tags, 'shared');
  const master = groupOf(tags, 'master');
  return {
    id: Number(id),
    parent: Number(parent),
    device: device as string,
    root: plain(root as string),
    at: plain(at as string),
    options: (options as string).split(','),
    ...(shared === undefined ? {} : { shared }),
    ...(master === undefined ? {} : { master }),
    type,
    source: plain(source),
    superOptions: superOptions.split(','),
  };
}

/** Parses the text of a mountinfo file; lines it cannot read are left out. Order is kept: later covers earlier. */
export function parseMountinfo(text: string): MountLine[] {
  const lines: MountLine[] = [];
  for (const line of text.split('\n')) {
    const parsed = line === '' ? undefined : parseLine(line);
    if (parsed !== undefined) lines.push(parsed);
  }
  return lines;
}

/** More than any machine has mounted for its own processes. */
const OWN_BYTES_MAX = 64 << 20;
/** Of another process: its user makes it as long as he likes. */
export const MOUNTS_BYTES_MAX = 16 << 20;

/** The mounts that this process sees. */
export function readMountinfo(): MountLine[] {
  return parseMountinfo(readProcText('/proc/self/mountinfo', OWN_BYTES_MAX));
}
