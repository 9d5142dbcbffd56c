/** Characters beside ASCII that we print ourselves: one column each. */
const ownCharacters = '·●█░▏▎▍▌▋▊▉→';

/** True for printable ASCII. A loop: compiling a regular expression costs more at a short start. */
export function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}

/** True when every character is known to take one column. */
function isNarrow(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if ((code < 0x20 || code > 0x7e) && !ownCharacters.includes(text.charAt(at))) return false;
  }
  return true;
}

const wideScripts = '\\p{Script=Han}\\p{Script=Hangul}\\p{Script=Hiragana}\\p{Script=Katakana}';
let classes: { mark: RegExp; wide: RegExp } | undefined;

/** Made on first use: Unicode classes are slow to compile. */
function charClasses(): { mark: RegExp; wide: RegExp } {
  classes ??= {
    mark: /\p{M}/u,
    wide: new RegExp(`[${wideScripts}\\p{Emoji_Presentation}\\uff01-\\uff60]`, 'u'),
  };
  return classes;
}

/** Columns of text without control characters. Combining marks take none, East Asian characters two. */
export function columnsOf(text: string): number {
  if (isNarrow(text)) return text.length;
  const { mark, wide } = charClasses();
  let columns = 0;
  for (const char of text) columns += mark.test(char) ? 0 : wide.test(char) ? 2 : 1;
  return columns;
}
