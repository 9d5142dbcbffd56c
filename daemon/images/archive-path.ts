import { shownPath } from './entry.ts';
import { badArchive } from './tar-headers.ts';

/**
 * The path inside the tree of a name in an archive ('' = the root). './' in front, '/.' inside and
 * slashes at the end are taken away; nothing that climbs or starts at the root is accepted, not
 * even when it would stay inside.
 * @throws PersonaError 'bad-archive'.
 */
export function archivePath(name: string, what: string): string {
  if (name === '') throw badArchive(`it has ${what} without a name`);
  if (name.includes('\0')) throw badArchive(`${shownPath(name)} has a NUL in its name`);
  if (name.startsWith('/')) throw badArchive(`${shownPath(name)} is an absolute path`);
  if (!/(?:^|\/)(?:\.{0,2})(?:\/|$)/.test(name)) return name;
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw badArchive(`${shownPath(name)} climbs out by '..'`);
  return parts.join('/');
}
