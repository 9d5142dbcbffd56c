import { readFileSync } from 'node:fs';

/** A user of this machine as /etc/passwd has it. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** Parses a text of the form of /etc/passwd; lines of another form are left out. */
export function parseAccounts(text: string): Account[] {
  const found: Account[] = [];
  for (const line of text.split('\n')) {
    const [name, , uid, gid, , home] = line.split(':');
    if (name === undefined || home === undefined || !/^\d+$/.test(`${uid}${gid}`)) continue;
    found.push({ name, uid: Number(uid), gid: Number(gid), home });
  }
  return found;
}

/** The account of a uid among the machine's own; undefined for users of a directory service. */
export function accountOf(uid: number): Account | undefined {
  return parseAccounts(readFileSync('/etc/passwd', 'utf8')).find((one) => one.uid === uid);
}
