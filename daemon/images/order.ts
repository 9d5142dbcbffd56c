const slash = 0x2f;

/**
 * The one order of paths: bytewise, with '/' below every other byte, so that a folder's whole
 * content follows it at once ('foo', 'foo/b', 'foo-a'). Negative, 0 or positive, as for sort().
 */
export function comparePaths(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return (x === slash ? -1 : x) - (y === slash ? -1 : y);
  }
  return a.length - b.length;
}

/** Bytewise order of two byte strings (names, attribute names). */
export function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The path of the folder that holds `path`; '' for entries of the root. The root has none. */
export function parentOf(path: string): string {
  const at = path.lastIndexOf('/');
  return at < 0 ? '' : path.slice(0, at);
}

/** The last component of `path`. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** True when `path` lies below `folder` (not the folder itself). Everything lies below the root. */
export function isBelow(path: string, folder: string): boolean {
  if (folder === '') return path !== '';
  return path.length > folder.length && path.startsWith(folder) && path[folder.length] === '/';
}

/** The path of the child `name` of `folder`. */
export function childOf(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}
