/**
 * Answers whether a path (relative, '' being the root) is one of `only`, lies below one of them, or is a folder on the
 * way to one.
 */
export function chosen(only: readonly string[]): (path: string) => boolean {
  const wanted = new Set(only);
  const above = new Set<string>(['']);
  for (const path of only) {
    for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1))
      above.add(path.slice(0, end));
  }
  return (path) => {
    if (above.has(path) || wanted.has(path)) return true;
    for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1))
      if (wanted.has(path.slice(0, end))) return true;
    return false;
  };
}
