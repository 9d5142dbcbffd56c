import type { Entry } from './entry.ts';
import { opaqueXattr, overlayXattrPrefix, shownPath } from './entry.ts';
import { isCarriedXattr } from './entry-grammar.ts';
import { compareBytes } from './order.ts';
import {
  type AccountLookup,
  aclToXattr,
  aclXattrs,
  isMinimalAcl,
  parseAclText,
} from './posix-acl.ts';
import { badArchive } from './tar-headers.ts';
import type { PaxRecord } from './tar-pax.ts';

/**
 * The extended attributes that pax records give a member, sorted. Access lists in text form are
 * turned into the kernel's form; an attribute of the same name is the better source and wins.
 * Names that Linux does not know (another system's archive) are left out.
 * @throws PersonaError 'bad-archive' for damaged values and for attributes that steer overlayfs.
 */
export function tarXattrs(
  name: string,
  records: readonly PaxRecord[],
  lookup: AccountLookup,
): Entry['xattrs'] {
  const found = new Map<string, string>();
  for (const [key, value] of records) {
    const acl = aclOf(name, key, value, lookup);
    if (acl !== undefined) found.set(acl[0], acl[1]);
  }
  for (const [key, value] of records) {
    const [xattr, bytes] = xattrOf(name, key, value) ?? ['', ''];
    if (!isCarriedXattr(xattr)) continue;
    if (xattr.startsWith(overlayXattrPrefix) && (xattr !== opaqueXattr || bytes !== 'y')) {
      throw badArchive(`${shownPath(name)} carries ${xattr}, which steers overlayfs`);
    }
    found.set(xattr, bytes);
  }
  return [...found].sort(([a], [b]) => compareBytes(a, b));
}

function xattrOf(name: string, key: string, value: string): [string, string] | undefined {
  if (key.startsWith('SCHILY.xattr.')) return [key.slice(13), value];
  if (key.startsWith('LIBARCHIVE.xattr.')) {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value)) {
      throw badArchive(`${shownPath(name)} has an attribute that is not base64`);
    }
    return [percentDecoded(key.slice(17)), Buffer.from(value, 'base64').toString('latin1')];
  }
  // Of old distributions; the C library wrote the NUL as part of the value.
  if (key === 'RHT.security.selinux') return ['security.selinux', value];
  return undefined;
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function aclOf(
  name: string,
  key: string,
  value: string,
  lookup: AccountLookup,
): [string, string] | undefined {
  const access = key === 'SCHILY.acl.access';
  if (!access && key !== 'SCHILY.acl.default') return undefined;
  const entries = parseAclText(value, lookup);
  if (typeof entries === 'string') {
    const error = badArchive(`${shownPath(name)}: cannot understand ${entries}`);
    error.hint =
      'Make the archive with extended attributes (tar --xattrs --acls), which hold numbers.';
    throw error;
  }
  if (access && isMinimalAcl(entries)) return undefined;
  return [access ? aclXattrs.access : aclXattrs.default, aclToXattr(entries)];
}
