/**
 * Runs the test runner, prints the beginning of each failure when it comes and all of it at the end, and what was
 * skipped with its reason, and closes with one line of counts. Arguments are passed on. Without any, the tests of the bare machine are run
 * and then the short form of those in a virtual machine, which must end in time.
 * Exit status: 1 when something failed or nothing ran, else that of the runner.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { testCache } from '../test/support/cache.ts';

const shortFormMs = 10 * 60_000;
const imagesMs = 15 * 60_000;
/** Of a failure, when it comes. */
const linesAtOnce = 16;
const lineCharsMax = 240;
const systemTests = 'test/system';

const failures: string[][] = [];
const skipped: string[] = [];
let passed = 0;
let failure: string[] | undefined;

const given = process.argv.slice(2);
const started = process.hrtime.bigint();
let status = await run(given);
if (given.length === 0) {
  console.log('\nIn a virtual machine:');
  // The tests make them otherwise, and say why they cannot be had.
  spawnSync(process.execPath, ['--no-warnings', `${systemTests}/support/make-images.ts`], {
    stdio: 'inherit',
    timeout: imagesMs,
  });
  status = (await run(['--config', `${systemTests}/ava.config.mjs`], shortFormMs)) || status;
}

const seconds = Number((process.hrtime.bigint() - started) / 1_000_000_000n);
for (const lines of failures) console.log(`\n${lines.join('\n')}`);
if (skipped.length > 0)
  console.log(`\nSkipped:\n${skipped.map((title) => `  ${title}`).join('\n')}`);
if (given.length === 0) sayLeftOut();
console.log(`\n${seconds} s`);
console.log(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped`);
process.exitCode = failures.length > 0 || passed === 0 ? 1 : status;

/** One run of the test runner; with a deadline it is the short form. Returns its exit status. */
async function run(args: readonly string[], deadlineMs?: number): Promise<number> {
  const runner = spawn('node_modules/.bin/ava', ['--tap', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      // Each of some thousand processes reads the same modules: a third of what it costs them to start.
      NODE_COMPILE_CACHE: join(testCache(), 'modules'),
      ...process.env,
      ...(deadlineMs === undefined ? {} : { PERSONAD_SYSTEM: 'short' }),
    },
  });
  const ended = new Promise<number>((resolve) => {
    runner.on('close', (code) => resolve(code ?? 1));
  });
  const late =
    deadlineMs &&
    setTimeout(() => {
      runner.kill('SIGKILL');
      failures.push([`not ok: the short form is not done after ${deadlineMs / 60_000} minutes`]);
    }, deadlineMs);
  for await (const line of createInterface({ input: runner.stdout })) take(line);
  endFailure();
  clearTimeout(late);
  return ended;
}

function sayLeftOut(): void {
  const long = readdirSync(systemTests).filter((name) => name.endsWith('.long.system.test.ts'));
  if (long.length === 0) return;
  console.log('\nLeft out because it takes long, run by `npm run test:system`:');
  for (const name of long) console.log(`  ${systemTests}/${name}`);
}

/** Prints the beginning of the failure that is complete now: who sees a part of the output only sees why. */
function endFailure(): void {
  const shown = failure?.slice(0, linesAtOnce).map((line) => line.slice(0, lineCharsMax));
  if (shown !== undefined) console.log(shown.join('\n'));
  failure = undefined;
}

/** One line of the Test Anything Protocol. An indented comment is what a test says of itself. */
function take(line: string): void {
  const result = /^(not ok|ok) \d+ - (.*)$/.exec(line);
  if (result === null) {
    if (line.trim() === '...') endFailure();
    else if (failure === undefined) {
      if (line.startsWith('#   ')) console.log(line);
    } else if (line.trim() !== '---') failure.push(line);
    return;
  }
  endFailure();
  const title = result[2] ?? '';
  if (result[1] === 'not ok' && !title.endsWith('# TODO')) {
    failure = [`not ok: ${title}`];
    failures.push(failure);
  } else if (title.endsWith('# SKIP')) {
    skipped.push(title.replace(/ # SKIP$/, ''));
  } else {
    passed++;
    if (passed % 50 === 0) console.log(`${passed} passed so far`);
  }
}
