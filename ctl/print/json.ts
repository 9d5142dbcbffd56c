/** Version of the JSON that the tool prints: fields may be added within it, never changed or removed. */
export const jsonVersion = 1;

const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * A value as JSON in which nothing moves a terminal's cursor or reorders its text: such characters are
 * written as \uNNNN, which means the same to programs. `indent` 0 gives one line.
 */
export function jsonText(value: unknown, indent = 2): string {
  return JSON.stringify(value, null, indent).replace(unsafe, (char) =>
    char === '\n'
      ? char
      : Array.from(
          { length: char.length },
          (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`,
        ).join(''),
  );
}
