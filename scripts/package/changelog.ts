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

/** The newest section of CHANGELOG.md as the entries of a Debian changelog. */
function entries(markdown: string): string[] {
  const newest = markdown.split(/^## /m)[1] ?? '';
  const points = newest.split(/^- /m).slice(1);
  return points.map((point) => {
    const [first = '', ...more] = point.trim().split(/\s*\n\s*/);
    return [`  * ${first}`, ...more.map((line) => `    ${line}`)].join('\n');
  });
}

/** What /usr/share/doc/personad/changelog.gz says: the newest changes, in Debian's form. */
export function debianChangelog(
  markdown: string,
  { version, epoch, maintainer }: { version: string; epoch: number; maintainer: string },
): string {
  const date = new Date(epoch * 1_000).toUTCString().replace('GMT', '+0000');
  const changes = entries(markdown).join('\n');
  return `personad (${version}) unstable; urgency=medium\n\n${changes}\n\n -- ${maintainer}  ${date}\n`;
}
