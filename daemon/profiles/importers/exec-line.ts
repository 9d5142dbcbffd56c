/** Longest command line that is looked at, in characters and words. */
const CHARS_MAX = 4096;
const WORDS_MAX = 128;

/**
 * The words of an `Exec` line of a desktop entry, by its rules: quotes and escapes as the specification has them, field codes left out. Undefined
 * when it breaks them. Nothing of it is ever run.
 */
export function wordsOfExec(line: string): string[] | undefined {
  if (line.length > CHARS_MAX) return undefined;
  const words: string[] = [];
  const word = /\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)/y;
  const text = line.trim();
  for (let at = 0; at < text.length; at = word.lastIndex) {
    word.lastIndex = at;
    const match = word.exec(text);
    if (match === null || words.length === WORDS_MAX) return undefined;
    const [, quoted, bare = ''] = match;
    if (quoted !== undefined) words.push(quoted.replace(/\\(.)/g, '$1'));
    else if (!/^%[fFuUdDnNickvm]$/.test(bare)) words.push(bare.replaceAll('%%', '%'));
  }
  return words;
}

/**
 * Programs that run what their arguments say: that a desktop entry names one tells nothing of it, and must not make every script an
 * application.
 */
const runsOthers =
  /^(sh|bash|dash|zsh|fish|busybox|env|nice|ionice|exec|sudo|pkexec|su|gksu|kdesu|x-terminal-emulator|xterm|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|lua[0-9.]*|node|nodejs|deno|bun|java|mono|wine[0-9]*|flatpak|snap|toolbox|distrobox|podman|docker|bwrap|firejail|systemd-run|gtk-launch|gapplication|gio|xdg-open|dbus-launch|dbus-run-session|dbus-send|gdbus|qdbus|kioclient[0-9]*|kcmshell[0-9]*|gnome-control-center|systemsettings[0-9]*|gjs|electron[0-9]*|prime-run|gamemoderun|mangohud|steam|timeout|setsid|nohup|stdbuf|chrt|taskset|cgexec)$/;

/** True for a path or name of a program that runs what its arguments say. */
export const isGeneric = (program: string): boolean =>
  runsOthers.test(program.slice(program.lastIndexOf('/') + 1));

/** The program that a command line starts: a path or a name; undefined when it is one that runs others. */
export function programOf(words: readonly string[]): string | undefined {
  let at = 0;
  if (/^(.*\/)?env$/.test(words[0] ?? '')) {
    at = 1;
    while (/^[A-Za-z_]\w*=/.test(words[at] ?? '')) at += 1;
  }
  const program = words[at];
  if (program === undefined || program === '' || program.startsWith('-')) return undefined;
  return isGeneric(program) ? undefined : program;
}
