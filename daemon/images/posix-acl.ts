/**
 * POSIX access lists, in the three forms they travel in: the kernel's extended attribute, the form
 * ext4 stores, and the text of pax headers.
 */
export interface AclEntry {
  tag: number;
  permissions: number;
  /** Only of a named user or group. */
  id?: number;
}

/** Tags of linux/posix_acl.h. */
export const aclTags = {
  owner: 0x01,
  user: 0x02,
  owningGroup: 0x04,
  group: 0x08,
  mask: 0x10,
  other: 0x20,
} as const;

export const aclXattrs = {
  access: 'system.posix_acl_access',
  default: 'system.posix_acl_default',
} as const;

const undefinedId = 0xffffffff;
const xattrVersion = 2;
const ext4Version = 1;

/** True when the list says nothing that the mode bits do not say too (the kernel stores none). */
export function isMinimalAcl(entries: readonly AclEntry[]): boolean {
  return entries.every(
    ({ tag }) => tag === aclTags.owner || tag === aclTags.owningGroup || tag === aclTags.other,
  );
}

/** The attribute value of a list, as the kernel hands it out: sorted by tag, then id. */
export function aclToXattr(entries: readonly AclEntry[]): string {
  const sorted = [...entries].sort((a, b) => a.tag - b.tag || (a.id ?? 0) - (b.id ?? 0));
  const bytes = Buffer.alloc(4 + 8 * sorted.length);
  bytes.writeUInt32LE(xattrVersion, 0);
  sorted.forEach(({ tag, permissions, id }, index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(permissions, 6 + 8 * index);
    bytes.writeUInt32LE(id ?? undefinedId, 8 + 8 * index);
  });
  return bytes.toString('latin1');
}

/** Reads the form stored by ext2, ext3 and ext4; undefined when it is damaged. */
export function aclFromExt4(value: Buffer): AclEntry[] | undefined {
  if (value.length < 4 || value.readUInt32LE(0) !== ext4Version) return undefined;
  const entries: AclEntry[] = [];
  for (let at = 4; at < value.length; ) {
    if (at + 4 > value.length) return undefined;
    const tag = value.readUInt16LE(at);
    const permissions = value.readUInt16LE(at + 2);
    at += 4;
    if (tag !== aclTags.user && tag !== aclTags.group) {
      entries.push({ tag, permissions });
      continue;
    }
    if (at + 4 > value.length) return undefined;
    entries.push({ tag, permissions, id: value.readUInt32LE(at) });
    at += 4;
  }
  return entries.every(isKnown) ? entries : undefined;
}

function isKnown({ tag, permissions }: AclEntry): boolean {
  return permissions <= 7 && Object.values<number>(aclTags).includes(tag);
}

const tagOfWord: Record<string, readonly [plain: number, named: number | undefined]> = {
  user: [aclTags.owner, aclTags.user],
  u: [aclTags.owner, aclTags.user],
  group: [aclTags.owningGroup, aclTags.group],
  g: [aclTags.owningGroup, aclTags.group],
  mask: [aclTags.mask, undefined],
  m: [aclTags.mask, undefined],
  other: [aclTags.other, undefined],
  o: [aclTags.other, undefined],
};

/** Gives the number of an account name, or undefined. */
export type AccountLookup = (kind: 'user' | 'group', name: string) => number | undefined;

/**
 * Reads the text of SCHILY.acl records: entries "user:NAME:rwx" or "user:NAME:rwx:ID", parted by
 * commas or lines. The id after the permissions (star) wins over the name.
 * @returns what is wrong, as a string, when it cannot be read.
 */
export function parseAclText(text: string, lookup: AccountLookup): AclEntry[] | string {
  const entries: AclEntry[] = [];
  for (const part of text.split(/[,\n]/)) {
    const clean = part.replace(/#.*$/, '').trim();
    if (clean === '') continue;
    const entry = parseAclPart(clean, lookup);
    if (typeof entry === 'string') return entry;
    entries.push(entry);
  }
  return entries;
}

function parseAclPart(part: string, lookup: AccountLookup): AclEntry | string {
  const [word = '', name = '', third, fourth] = part.split(':');
  const tags = tagOfWord[word];
  // mask and other may be written with one colon only ("mask:rwx").
  const short = third === undefined;
  const letters = short ? name : third;
  const match = /^([r-])([w-])([xX-])$/.exec(letters.trim());
  if (tags === undefined || match === null) return `the access list entry ${JSON.stringify(part)}`;
  const permissions =
    (match[1] === 'r' ? 4 : 0) | (match[2] === 'w' ? 2 : 0) | (match[3] === '-' ? 0 : 1);
  if (short || name === '') return { tag: tags[0], permissions };
  if (tags[1] === undefined) return `the access list entry ${JSON.stringify(part)}`;
  const id = accountId(tags[1] === aclTags.user ? 'user' : 'group', name, fourth, lookup);
  if (id === undefined) return `the account name ${JSON.stringify(name)} in an access list`;
  return { tag: tags[1], permissions, id };
}

function accountId(
  kind: 'user' | 'group',
  name: string,
  suffix: string | undefined,
  lookup: AccountLookup,
): number | undefined {
  const digits = suffix !== undefined && suffix !== '' ? suffix : name;
  if (/^[0-9]{1,10}$/.test(digits)) {
    const id = Number(digits);
    return id < undefinedId ? id : undefined;
  }
  return name === 'root' ? 0 : lookup(kind, name);
}
