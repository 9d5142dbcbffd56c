/**
 * Runs the test runner, prints the beginning of each failure when it comes and all of it at the end, and what was
 * skipped with its reason, and closes with one line of counts. Arguments are passed on. Without any, the tests of the bare machine are run
 * and then the short form of those in a virtual machine, which must end in time.
 * Exit status: 1 when something failed or nothing ran, else that of the runner.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
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
const images = given.length === 0 ? beginImages() : undefined;
let status = given.includes('--config') ? await run(given) : await withFolder(given);
if (images !== undefined) {
  await images;
  console.log('\nIn a virtual machine:');
  // The tests make them otherwise, and say why they cannot be had.
  spawnSync(process.execPath, ['--no-warnings', `${systemTests}/support/make-images.ts`], {
    stdio: 'inherit',
    timeout: imagesMs,
  });
  status =
    (await run(['--config', `${systemTests}/ava.config.mjs`], {
      env: { PERSONAD_SYSTEM: 'short' },
      deadlineMs: shortFormMs,
    })) || status;
}

const seconds = Number((process.hrtime.bigint() - started) / 1_000_000_000n);
for (const lines of failures) console.log(`\n${lines.join('\n')}`);
if (skipped.length > 0)
  console.log(`\nSkipped:\n${skipped.map((title) => `  ${title}`).join('\n')}`);
if (given.length === 0) sayLeftOut();
console.log(`\n${seconds} s`);
console.log(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped`);
process.exitCode = failures.length > 0 || passed === 0 ? 1 : status;

/**
 * Begins to make the images of the virtual machines beside other tests, which leave some time of the processors over.
 * Ends with that, or after a time that no image takes.
 */
async function beginImages(): Promise<void> {
  const make = [process.execPath, '--no-warnings', `${systemTests}/support/make-images.ts`];
  const maker = spawn('nice', ['-n', '10', ...make, '--base'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: imagesMs,
  });
  await new Promise((resolve) => maker.once('close', resolve).once('error', resolve));
}

/**
 * One run with a folder of its own for temporary files, which says what was left there. On ext4 each folder in it gets a
 * group of inodes of its own: without a journal, that looks at all inodes of a group that were freed in the last
 * seconds for each new one, which took a third of the processors in the proofs of changes.
 */
async function withFolder(args: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'pt-'));
  chmodSync(folder, 0o1777);
  spawnSync('chattr', ['+T', folder], { stdio: 'ignore' });
  try {
    return await run(args, { env: { TMPDIR: folder } });
  } finally {
    const left = readdirSync(folder);
    if (left.length === 0) rmdirSync(folder);
    else console.log(`\nLeft in ${folder}: ${left.join(', ')}`);
  }
}

/** One run of the test runner, which is ended at its deadline. Returns its exit status. */
async function run(
  args: readonly string[],
  { env, deadlineMs }: { env?: NodeJS.ProcessEnv; deadlineMs?: number } = {},
): Promise<number> {
  const runner = spawn('node_modules/.bin/ava', ['--tap', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      // Each of some thousand processes reads the same modules: a third of what it costs them to start.
      NODE_COMPILE_CACHE: join(testCache(), 'modules'),
      ...process.env,
      ...env,
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
