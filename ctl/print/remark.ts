import { padded, type Safe, say } from './safe.ts';
import type { Style } from './style.ts';
import { wrapped } from './wrap.ts';

/** A remark below what it is about. A long text goes on below its first line. */
export function remark(
  name: Safe,
  text: string,
  { style, columns }: { style: Style; columns: number },
): Safe[] {
  const before = say`${style.yellow('!')} ${name}`;
  const [first = '', ...more] = wrapped(text, Math.max(30, columns - before.width - 3));
  const rest = more.map((line) => say`${padded('', before.width)}${line}`);
  return [say`${before}${first}`, ...rest];
}
