/** A range of ids that belongs to a user. */
interface Range {
  owner: number;
  first: number;
  count: number;
}

/** Ranges of a file like /etc/subuid; `uidOf` finds the uid of a name. Lines that do not parse are left out. */
export function parseSubordinate(
  text: string,
  uidOf: (name: string) => number | undefined,
): Range[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([^:#\s]+):(\d{1,10}):(\d{1,10})\s*$/.exec(line);
    if (match === null) return [];
    const [, who = '', first, count] = match;
    const owner = /^\d+$/.test(who) ? Number(who) : uidOf(who);
    return owner === undefined ? [] : [{ owner, first: Number(first), count: Number(count) }];
  });
}

/** The uids by name of a text like /etc/passwd. */
export function parseUsers(text: string): Map<string, number> {
  const users = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name && uid !== undefined && /^\d+$/.test(uid)) users.set(name, Number(uid));
  }
  return users;
}

/** The gid of a group in a text like /etc/group, or undefined. */
export function parseGroup(text: string, name: string): number | undefined {
  for (const line of text.split('\n')) {
    const [group, , gid] = line.split(':');
    if (group === name && gid !== undefined && /^\d+$/.test(gid)) return Number(gid);
  }
  return undefined;
}

/** A function from a uid to the user it counts to: quotas of a user include its subordinate ids. */
export function ownerLookup(ranges: readonly Range[]): (uid: number) => number {
  return (uid) =>
    ranges.find(({ first, count }) => uid >= first && uid < first + count)?.owner ?? uid;
}
