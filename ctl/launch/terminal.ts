import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { isatty } from 'node:tty';

/** The process group we are in, and the one in the foreground of our terminal. */
function groups(): { own: number; foreground: number } | undefined {
  try {
    // After the name, which may hold anything: state, parent, group, session, terminal, foreground.
    const fields = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return { own: Number(fields[2]), foreground: Number(fields[5]) };
  } catch {
    return undefined;
  }
}

const program = '$SIG{TTOU} = "IGNORE"; POSIX::tcsetpgrp(0, getpgrp()) or exit 1';

/**
 * Remembers who has the terminal, and gives it back. A shell inside puts its own group there, and at
 * its end it cannot name the group outside of its process namespace that had it before. Interactive
 * shells outside take the terminal again by themselves; a script would be stopped at its next read.
 * Node has no call for this: where there is no perl it stays as it is.
 */
export function keepForeground(): () => void {
  const before = isatty(0) ? groups() : undefined;
  if (before === undefined || before.own !== before.foreground) return () => {};
  return () => {
    const now = groups();
    if (now === undefined || now.own === now.foreground) return;
    const stdio = ['inherit', 'ignore', 'ignore'] as const;
    spawnSync('/usr/bin/perl', ['-MPOSIX', '-e', program], { stdio: [...stdio], timeout: 2000 });
  };
}
