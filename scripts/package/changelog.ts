import { execFileSync } from 'node:child_process';

/** Of a tree that is in no repository and names no time. */
const fixedEpoch = Date.UTC(2026, 0, 1) / 1_000;

/** The time that stands for the sources, in seconds: SOURCE_DATE_EPOCH, else that of the last commit. */
export function sourceEpoch(root: string): number {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined && /^\d{1,12}$/.test(given)) return Number(given);
  try {
    const said = execFileSync('git', ['log', '-1', '--format=%ct'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number(said.trim()) || fixedEpoch;
  } catch {
    return fixedEpoch;
  }
}

/** The longest line that Debian's tools like in a changelog. */
const columns = 78;

/** One point of the list, its lines joined and broken again. */
function entry(point: string): string {
  const lines = [''];
  for (const word of point.trim().split(/\s+/)) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + word.length + 5 > columns) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`.trim();
  }
  return `  * ${lines.join('\n    ')}`;
}

/** The newest section of CHANGELOG.md as the entries of a Debian changelog. */
function entries(markdown: string): string {
  const newest = markdown.split(/^## /m)[1] ?? '';
  return newest.split(/^- /m).slice(1).map(entry).join('\n');
}

/** What /usr/share/doc/personad/changelog.gz says: the newest changes, in Debian's form. */
export function debianChangelog(
  markdown: string,
  { version, epoch, maintainer }: { version: string; epoch: number; maintainer: string },
): string {
  const date = new Date(epoch * 1_000).toUTCString().replace('GMT', '+0000');
  return `personad (${version}) unstable; urgency=medium\n\n${entries(markdown)}\n\n -- ${maintainer}  ${date}\n`;
}
