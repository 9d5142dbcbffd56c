/**
 * Runs the test runner, prints what failed in full and what was skipped with its reason, and closes
 * with one line of counts. Exit status: that of the runner, or 1 when nothing ran.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const failures: string[][] = [];
const skipped: string[] = [];
let passed = 0;
let failure: string[] | undefined;
const started = process.hrtime.bigint();

const runner = spawn('node_modules/.bin/ava', ['--tap', ...process.argv.slice(2)], {
  stdio: ['ignore', 'pipe', 'inherit'],
});

for await (const line of createInterface({ input: runner.stdout })) take(line);
const status = await new Promise<number>((resolve) => {
  if (runner.exitCode !== null) resolve(runner.exitCode);
  else runner.on('close', (code) => resolve(code ?? 1));
});

const seconds = Number((process.hrtime.bigint() - started) / 1_000_000_000n);
for (const lines of failures) console.log(`\n${lines.join('\n')}`);
if (skipped.length > 0)
  console.log(`\nSkipped:\n${skipped.map((title) => `  ${title}`).join('\n')}`);
console.log(`\n${seconds} s`);
console.log(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped`);
process.exitCode = failures.length > 0 || passed === 0 ? 1 : status;

/** One line of the Test Anything Protocol. */
function take(line: string): void {
  const result = /^(not ok|ok) \d+ - (.*)$/.exec(line);
  if (result === null) {
    if (line.trim() === '...') failure = undefined;
    else if (failure !== undefined) failure.push(line);
    else if (line.startsWith('#') && !/^# (tests|pass|fail|skip) \d+$/.test(line))
      console.log(line);
    return;
  }
  failure = undefined;
  const title = result[2] ?? '';
  if (result[1] === 'not ok' && !title.endsWith('# TODO')) {
    failure = [`not ok: ${title}`];
    failures.push(failure);
    console.log(`not ok: ${title}`);
  } else if (title.endsWith('# SKIP')) {
    skipped.push(title.replace(/ # SKIP$/, ''));
  } else {
    passed++;
    if (passed % 50 === 0) console.log(`${passed} passed so far`);
  }
}
