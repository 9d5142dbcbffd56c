import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readTrace } from '../../daemon/partitions/simulator/trace.ts';
import { fakeDaemon } from './fake-daemon.ts';
import * as samples from './samples.ts';
import { personactl } from './tool.ts';

const folder = (t: ExecutionContext): string => {
  const place = mkdtempSync(join(tmpdir(), 'personactl-record-'));
  t.teardown(() => rmSync(place, { recursive: true, force: true }));
  return place;
};

/** A daemon whose machine is looked at anew for each call; Ctrl-C is pressed in the middle of call number `last`. */
async function lookedAt(t: ExecutionContext, last: number) {
  let calls = 0;
  let press = () => {};
  const { root } = await fakeDaemon(t, {
    'partitions.show': () => {
      calls += 1;
      if (calls === last) press();
      const { seenMs, sides, ...page } = samples.partitions;
      return {
        ...page,
        seenMs: seenMs + calls * 1000,
        sides: sides.map((one) => ({ ...one, present: true, currentBytes: calls * 1000 })),
        totalBytes: 6 * 2 ** 30,
      };
    },
  });
  return {
    root,
    interrupt: (heard: () => void) => {
      press = heard;
    },
  };
}

test('what is recorded is what replay reads', async (t) => {
  const cwd = folder(t);
  const setting = { ...(await lookedAt(t, 3)), cwd };
  const { status, out } = await personactl(setting, 'partitions', 'record', '-o', 'day.csv');
  t.is(status, 0);
  t.regex(out, /2 rows in day\.csv/);
  const text = readFileSync(join(cwd, 'day.csv'), 'utf8');
  t.is(
    text,
    'seconds,user_bytes,system_bytes,user_swap_bytes,system_swap_bytes,user_waiting,system_waiting,user_cache_bytes,system_cache_bytes,total_bytes,available_bytes\n' +
      '1.000,2000,2000,1073741824,,0.1200,,2147483648,,6442450944,4294967296\n' +
      '2.000,3000,3000,1073741824,,0.1200,,2147483648,,6442450944,4294967296\n',
  );
  const { scenario, recorded } = readTrace('day', text);
  t.is(scenario.sides.user.start[0], 1_073_741_824 + 2000, 'what lies in swap is wanted too');
  t.is(recorded?.waited.user[0], 0.12);
  t.is(recorded?.waited.system[0], Number.NaN, 'not told is not nothing');
  t.is(scenario.totalBytes, 4_294_967_296 + 3000, 'the machine, without what others have of it');
  const again = await personactl(setting, 'partitions', 'record', '-o', 'day.csv');
  t.not(again.status, 0, 'a file is not replaced unasked');
  t.is(readFileSync(join(cwd, 'day.csv'), 'utf8'), text);
});

test('it ends by itself, and a look that is no newer makes no row', async (t) => {
  const cwd = folder(t);
  writeFileSync(join(cwd, 'partitions.csv'), 'old');
  const sides = samples.partitions.sides.map((one) => ({ ...one, present: true, currentBytes: 9 }));
  const { root } = await fakeDaemon(t, {
    'partitions.show': () => ({ ...samples.partitions, sides }),
  });
  const line = ['partitions', 'record', '--for', '2', '--force'];
  const { status, out } = await personactl({ root, cwd }, ...line);
  t.is(status, 0);
  t.regex(out, /^1 rows/);
});

test('without the cgroup of a side no file is made', async (t) => {
  const cwd = folder(t);
  const { root } = await fakeDaemon(t, {
    'partitions.show': () => ({
      ...samples.partitions,
      sides: samples.partitions.sides.map(({ side, group }) => ({ side, group, present: false })),
    }),
  });
  const { status, err } = await personactl({ root, cwd }, 'partitions', 'record');
  t.not(status, 0);
  t.regex(err, /user side/);
  t.throws(() => readFileSync(join(cwd, 'partitions.csv')));
});

test('watch shows the page until Ctrl-C, one object a line with --json', async (t) => {
  const setting = await lookedAt(t, 2);
  const { status, out } = await personactl(
    setting,
    'partitions',
    'watch',
    '--every',
    '1',
    '--json',
  );
  t.is(status, 0);
  const pages = out.trim().split('\n');
  t.is(pages.length, 2);
  t.is(
    (JSON.parse(pages[1] ?? '') as { sides: { currentBytes: number }[] }).sides[0]?.currentBytes,
    2000,
  );
});
