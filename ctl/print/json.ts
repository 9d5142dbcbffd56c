import { unsafeCharacters } from '../../ipc/values.ts';

/** Version of the JSON that the tool prints: fields may be added within it, never changed or removed. */
export const jsonVersion = 1;

// Nearly all JSON is this: only the rest is looked at closely.
const plain = /^[\x20-\x7e\n]*$/;

/**
 * A value as JSON in which nothing moves a terminal's cursor or reorders its text: such characters are
 * written as \uNNNN, which means the same to programs. `indent` 0 gives one line.
 */
export function jsonText(value: unknown, indent = 2): string {
  const text = JSON.stringify(value, null, indent);
  if (plain.test(text)) return text;
  return text.replace(unsafeCharacters(), (char) =>
    char === '\n'
      ? char
      : Array.from(
          { length: char.length },
          (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`,
        ).join(''),
  );
}
