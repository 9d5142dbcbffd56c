// ASCII and the few other characters that we print ourselves: one column each, known at once.
const narrow = /^[\x20-\x7e·●█░▏▎▍▌▋▊▉→]*$/;

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
  if (narrow.test(text)) return text.length;
  const { mark, wide } = charClasses();
  let columns = 0;
  for (const char of text) columns += mark.test(char) ? 0 : wide.test(char) ? 2 : 1;
  return columns;
}
