/**
 * The program that reads images again, slowly and in nobody's way. Its standard input is one JSON value: how fast, and
 * which files with how many bytes; its standard output a JSON line for each step.
 */
import { readFileSync, writeSync } from 'node:fs';
import { pacedDigest, TooShort } from './kernel/paced-digest.ts';
import type { ScrubLine, ScrubTask } from './kernel/scrub-child.ts';

/** Lines of progress are written this far apart. */
const lineEveryMs = 500;

function say(line: ScrubLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

/** What is wrong with the file itself; everything else is our own failure, and no finding. */
function problemOf(error: unknown): string {
  if (error instanceof TooShort) return 'it is too short';
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'its file is not there';
  if (code === 'ELOOP') return 'it is a link';
  // A block that does not fit the seal of its file, or that the disk has lost.
  if (code === 'EIO' || code === 'EUCLEAN' || code === 'EBADMSG') return 'it cannot be read';
  throw error;
}

const { bytesPerSecond, files } = JSON.parse(readFileSync(0, 'utf8')) as ScrubTask;
let saidMs = Number.NEGATIVE_INFINITY;
for (const [file, { path, bytes }] of files.entries()) {
  try {
    const digest = await pacedDigest(path, bytes, bytesPerSecond, (done) => {
      if (performance.now() - saidMs < lineEveryMs) return;
      saidMs = performance.now();
      say({ file, done });
    });
    say({ file, digest });
  } catch (error) {
    say({ file, problem: problemOf(error) });
  }
}
