/** What a row holds. Integers must be safe integers; a blob is a Buffer or Uint8Array. */
export type SqlValue = string | number | null | Uint8Array;

/** One row as read: blobs come back as Uint8Array. */
export type Row = Record<string, SqlValue>;

/**
 * `value` as an SQL literal. Statements of one transaction are sent as one text in one round trip
 * (measured 1.4 ms against 1.7 for awaited statements), so that values cannot be bound.
 */
export function literal(value: SqlValue): string {
  if (value === null) return 'NULL';
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`cannot store the number ${value}`);
    // Written with a fraction, a whole number that no longer counts exactly stays a REAL and is read back as it is.
    const exact =
      !Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= 1e21;
    return exact ? String(value) : `${value}.0`;
  }
  if (typeof value === 'string') return text(value);
  return `x'${Buffer.from(value).toString('hex')}'`;
}

/** A NUL would end the statement for the parser, so such a text travels as bytes. */
function text(value: string): string {
  if (value.includes('\0')) return `CAST(x'${Buffer.from(value, 'utf8').toString('hex')}' AS TEXT)`;
  return `'${value.replaceAll("'", "''")}'`;
}

/** `sql` with each `?` outside of quotes replaced by the literal of the next value. */
export function fill(sql: string, values: readonly SqlValue[]): string {
  let next = 0;
  const filled = sql.replace(/'(?:[^']|'')*'|"[^"]*"|\?/g, (part) => {
    if (part !== '?') return part;
    const value = values[next++];
    if (value === undefined) throw new TypeError(`too few values for: ${sql}`);
    return literal(value);
  });
  if (next !== values.length) throw new TypeError(`too many values for: ${sql}`);
  return filled;
}
