import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../support/temp.ts';

const tool = join(import.meta.dirname, '../../ctl/main.ts');

/** The tool as its user runs it: no daemon, no rights asked for. */
function replay(cwd: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--no-warnings', tool, 'partitions', 'replay', ...args],
    { cwd, encoding: 'utf8', timeout: 120_000, env: { LANG: 'C.UTF-8', PERSONA_ROOT: cwd } },
  );
  return { status, out: stdout, err: stderr };
}

const trace = ['seconds,user_bytes,system_bytes', '0,1000,9000', '60,9000,1000', '120,9000,9000'];

test('a trace is replayed without a daemon: table and plot', (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'day.csv'), trace.join('\n'));
  const { status, out, err } = replay(
    folder,
    'day.csv',
    '--policy',
    'static',
    '--policy',
    'oracle',
    '--user=70',
    '--swap-on=zram',
  );
  t.is(status, 0, err);
  t.regex(out, /POLICY +SHORT\/H/);
  t.regex(out, /user 70 %\nswap on zram$/m);
  t.regex(out, /^static /m);
  t.regex(out, /^oracle /m);
  t.regex(out, /user has +[▁▂▃▄▅▆▇█ ]+$/m);
});

test('--json has the rows, -o writes a plot whose text is only text', (t) => {
  const folder = temporaryFolder(t);
  const name = '<script>"&\u001b[31m.csv';
  writeFileSync(join(folder, name), trace.join('\n'));
  const { status, out, err } = replay(
    folder,
    name,
    '--policy',
    'protective',
    '--json',
    '-o',
    'p.svg',
  );
  t.is(status, 0, err);
  const page = JSON.parse(out) as { apiVersion: number; rows: { policy: string }[] };
  t.is(page.apiVersion, 1);
  t.deepEqual(
    page.rows.map(({ policy }) => policy),
    ['protective'],
  );
  const svg = readFileSync(join(folder, 'p.svg'), 'utf8');
  t.true(svg.startsWith('<svg '));
  t.false(svg.includes('<script>'));
  t.false(svg.includes('\u001b'));
  t.regex(svg, /<polyline [^>]*points="\d/);
});

test('a plot that is asked for in another format is refused at once, and nothing is written', (t) => {
  const folder = temporaryFolder(t);
  const { status, out, err } = replay(folder, '--seeds', '1', '-o', 'p.PNG');
  t.is(status, 2);
  t.is(out, '');
  t.regex(err, /SVG, not as \.png.*ends in \.svg/s);
  t.deepEqual(readdirSync(folder), []);
});

test('several scenarios have intervals, in the table and in --json; one has none', (t) => {
  const folder = temporaryFolder(t);
  const args = ['--model', 'first-order', '--policy', 'threshold', '--seeds'];
  const table = replay(folder, ...args, '2');
  t.is(table.status, 0, table.err);
  t.regex(table.out, /^ {2}95 % +\d+\.\.\d+ /m);
  const rows = (seeds: string) =>
    (JSON.parse(replay(folder, ...args, seeds, '--json').out) as { rows: { intervals?: object }[] })
      .rows;
  t.like(Object.keys(rows('2')[0]!.intervals!), ['shortSeconds', 'shortGiBs', 'avoidable']);
  t.is(rows('1')[0]!.intervals, undefined);
  t.notRegex(replay(folder, ...args, '1').out, /95 %/);
});

test('scenarios come from their seeds: the same line gives the same answer', (t) => {
  const folder = temporaryFolder(t);
  const args = ['--seed', '9', '--seeds', '1', '--policy', 'protective', '--json'];
  const once = replay(folder, ...args);
  t.is(once.status, 0, once.err);
  t.is(replay(folder, ...args).out, once.out);
});

test('what is wrong is said, with the right status', (t) => {
  const folder = temporaryFolder(t);
  t.is(replay(folder, 'missing.csv').status, 4);
  t.is(replay(folder, '--policy', 'none').status, 2);
  t.is(replay(folder, '--seeds', '0').status, 2);
  t.is(replay(folder, '--memory', 'much').status, 2);
  t.is(replay(folder, '--swap-on', 'tape').status, 2);
  t.regex(replay(folder, '--swap-on', 'sata', '--model', 'first-order').err, /page heat/);
  t.regex(replay(folder, '--user', '10').err, /from 20 to 80 %/);
  writeFileSync(join(folder, 'bad.csv'), 'seconds,user_bytes,system_bytes\n0,1,2\n1,x,2\n');
  const bad = replay(folder, 'bad.csv');
  t.is(bad.status, 2);
  t.regex(bad.err, /line 3/);
  writeFileSync(join(folder, 'large.csv'), '');
  truncateSync(join(folder, 'large.csv'), 64 * 2 ** 20);
  const large = replay(folder, 'large.csv');
  t.is(large.status, 2);
  t.regex(large.err, /more than \d+ bytes/);
  execFileSync('mkfifo', [join(folder, 'pipe.csv')]);
  for (const endless of ['pipe.csv', '/dev/zero']) {
    const { status, err } = replay(folder, endless);
    t.is(status, 2, endless);
    t.regex(err, /is not a plain file/);
  }
  // Its size is 0, it has no end worth waiting for, and wants to be read in pieces of its own.
  t.is(replay(folder, '/proc/self/pagemap').status, 2);
});
