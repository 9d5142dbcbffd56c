/**
 * Runs in a guest: a program with a working set, touched at a steady rate until it is told to stop (SIGTERM); then it
 * writes down how it went. What it could not touch in time it does not make up for.
 * Arguments: MiB of memory of its own, MiB of a file, pages to touch each second, the file, where to write.
 */
import { fsyncSync, openSync, readSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const [, , anonMiB, fileMiB, rate, file = '', report = ''] = process.argv;
const pageBytes = 4096;
const pagesOf = (mib: string | undefined) => (Number(mib) * 2 ** 20) / pageBytes;
const [anonPages, filePages, perSecond] = [pagesOf(anonMiB), pagesOf(fileMiB), Number(rate)];
const turnMs = 20;

const own = Buffer.alloc(anonPages * pageBytes);
for (let page = 0; page < anonPages; page += 1) own[page * pageBytes] = 1;
const opened = openSync(file, 'w+');
const page = Buffer.alloc(pageBytes, 1);
for (let at = 0; at < filePages; at += 1) writeSync(opened, page);
// What is not on the disk yet could not be taken away.
fsyncSync(opened);

let seed = 1;
/** A page, each as likely as the others. */
function drawn(): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((seed / 2 ** 32) * (anonPages + filePages));
}

function touch(at: number): void {
  if (at < anonPages) own[at * pageBytes] = (own[at * pageBytes] ?? 0) + 1;
  else readSync(opened, page, 0, pageBytes, (at - anonPages) * pageBytes);
}

function tell(path: string, what: object): void {
  writeFileSync(`${path}.new`, JSON.stringify(what));
  renameSync(`${path}.new`, path);
}

let told = false;
process.on('SIGTERM', () => {
  told = true;
});
const began = performance.now();
let [touched, worstMs, before] = [0, 0, began];
tell(`${report}.begun`, {});
while (!told) {
  await pause(turnMs);
  const now = performance.now();
  // Longer than a second behind: that is lost.
  const due = Math.floor((Math.min(1000, now - before) / 1000) * perSecond);
  before = now;
  for (let count = 0; count < due; count += 1) touch(drawn());
  touched += due;
  worstMs = Math.max(worstMs, performance.now() - now);
}
tell(report, { touched, wanted: ((performance.now() - began) / 1000) * perSecond, worstMs });
