import { createHash } from 'node:crypto';

const digestOf = (text: string): string =>
  createHash('sha256').update(text, 'latin1').digest('hex');

/** Lines of JSON as one text, and the digest of all of them as the last line. */
export function sealLines(lines: readonly unknown[]): string {
  const text = `${lines.map((one) => JSON.stringify(one)).join('\n')}\n`;
  const escaped = text.replace(
    /[\u0080-\u00ff]/g,
    (char) => `\\u00${char.charCodeAt(0).toString(16)}`,
  );
  return `${escaped}${digestOf(escaped)}\n`;
}

/** Reads them back. Undefined when the text is not whole. */
export function unsealLines(text: string): unknown[] | undefined {
  const end = text.lastIndexOf('\n', text.length - 2) + 1;
  const body = text.slice(0, end);
  if (body === '' || text.slice(end) !== `${digestOf(body)}\n`) return undefined;
  return body
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line));
}
