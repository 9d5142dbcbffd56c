import { mkdirSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { failedWith } from '../../../daemon/kernel/errno.ts';
import { mountedFor } from '../../../daemon/kernel/mounted-for.ts';
import { parseMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { readProcLines, readProcText } from '../../../daemon/kernel/proc-text.ts';
import { readWalls } from '../../../daemon/kernel/process-walls.ts';
import { whoIsInside } from '../../../daemon/kernel/processes.ts';
import { sharedMappings } from '../../../daemon/kernel/shared-maps.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

// What /proc says of a process is as long as its user makes it: nothing that reads it may be held up, and nobody hides by it.

/** Of no file system: nobody is found inside by mistake. */
const device = '0:999999';
const nobody = 65_534;
const rooted = when(test, { root: true, tools: ['unshare', 'setpriv', 'perl'] });

/** Goes down through folders whose names are line feeds, each of which is told as four characters. */
const down = `sub down { my $name = "\\n" x 255; for (1 .. $_[0]) { mkdir $name; chdir $name or die "$!" } }`;
const wait = `$| = 1; print "ready\\n"; <STDIN>;`;
const asNobody = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];

/** What has one mount more, whose line is longer than any path: as anybody may make it, in a user namespace of his own. */
const longMounts = `${down} my $at = shift; system('mount', '-t', 'tmpfs', 'none', $at) and die;
chdir $at; down(200); mkdir 'm'; system('mount', '-t', 'tmpfs', 'none', 'm') and die; ${wait}`;

rooted('whose mounts are too long to be read counts as inside, and is not read on', async (t) => {
  const folder = scratchFolder(t);
  const own = ['unshare', '--user', '--map-root-user', '--mount', 'perl', '-e'];
  const [file = '', ...before] = asNobody;
  const long = partner(t, file, ...before, ...own, longMounts, folder);
  t.is(await long.line(), 'ready');
  const pid = long.process.pid!;

  let most = 0;
  const take = (lines: string) => {
    most = Math.max(most, lines.length);
    return false;
  };
  const error = await t.throwsAsync(readProcLines(`/proc/${pid}/mountinfo`, 16 << 20, take));
  t.true(failedWith(error, 'EFBIG'));
  t.true(most <= 96 * 1024, 'what is handed over is bounded');

  const find = async (look: 'programs' | 'all') =>
    (await whoIsInside(new Set([device, '0:999998']), look)).filter((one) => one.pid === pid);
  for (const look of ['programs', 'all'] as const) {
    const found = await find(look);
    t.is(found.length, 1);
    t.like(found[0], { by: 'namespace', uid: nobody });
    t.is(found[0]?.device, undefined, 'of which file system, could not be told');
  }

  const mounted = async (owner: number) => (await mountedFor(device, owner)).map((one) => one.pid);
  t.true((await mounted(nobody)).includes(pid));
  t.false((await mounted(nobody - 1)).includes(pid), 'nobody else is held up by it');
  t.deepEqual((await readWalls(pid))?.mounts, [], 'it is not taken to see anything');
});

rooted('whose mapped files are too long to be read counts as inside', async (t) => {
  const folder = temporaryFolder(t);
  // What is executed from a place of such depth has it in its maps.
  const script = `${down} chdir shift; down(200); open my $from, '<', '/bin/cat'; local $/; my $all = <$from>;
open my $to, '>', 'p'; print $to $all; close $to; chmod 0755, 'p'; exec './p'`;
  const long = partner(t, 'perl', '-e', script, folder);
  long.say('ready');
  t.is(await long.line(), 'ready');
  const pid = long.process.pid!;
  const inside = await whoIsInside(new Set([device]));
  const found = inside.find((one) => one.pid === pid);
  t.is(found?.by, 'map');
  t.is(found?.device, undefined);
  t.is(inside.at(-1)?.device, undefined, 'those are the last');
  const error = await t.throwsAsync(sharedMappings([pid], device));
  t.true(failedWith(error, 'EFBIG'), 'what is written without a trace is not taken for nothing');
  t.false((await whoIsInside(new Set([device]), 'programs')).some((one) => one.pid === pid));
});

test('lines are handed over whole, however they are cut, and bounded', async (t) => {
  const file = `${temporaryFolder(t)}/text`;
  const lines = Array.from({ length: 3_000 }, (_, at) => `${at} ${'x'.repeat(at % 97)}\n`);
  const text = `${lines.join('')}last`;
  writeFileSync(file, text);
  const pieces: string[] = [];
  const keep = (piece: string) => {
    pieces.push(piece);
    return false;
  };
  await readProcLines(file, text.length, keep);
  t.is(pieces.join(''), text);
  t.true(pieces.length > 2);
  t.true(pieces.slice(0, -1).every((piece) => piece.endsWith('\n')));
  t.is(readProcText(file, text.length), text);
  t.throws(() => readProcText(file, text.length - 1), { code: 'EFBIG' });
  await t.throwsAsync(readProcLines(file, text.length - 1, keep), { code: 'EFBIG' });
  await t.notThrowsAsync(
    readProcLines(file, 1, () => true),
    'who has seen enough',
  );
  const own: string[] = [];
  await readProcLines('/proc/self/mountinfo', 16 << 20, (piece) => own.push(piece) < 0);
  t.deepEqual(
    parseMountinfo(own.join('')),
    parseMountinfo(readProcText('/proc/self/mountinfo', 64 << 20)),
  );
  mkdirSync(`${file}s`);
  await t.throwsAsync(readProcLines(`${file}s`, 1, keep), { code: 'EISDIR' });
});
