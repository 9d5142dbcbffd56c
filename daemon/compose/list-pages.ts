/** What one reply of a list carries: half of what it may, for one row may be long. */
const pageBytesMax = 1024 * 1024;

/** Of rows that are in the order of their names those after `after` that fit one reply, the first of them in any case. */
export function listPage<T extends { name: string }>(
  rows: readonly T[],
  after = '',
  bytesMax = pageBytesMax,
): { rows: T[]; more?: true } {
  const page: T[] = [];
  let bytes = 0;
  for (const row of rows) {
    if (row.name <= after) continue;
    bytes += Buffer.byteLength(JSON.stringify(row));
    if (bytes > bytesMax && page.length > 0) return { rows: page, more: true };
    page.push(row);
  }
  return { rows: page };
}
