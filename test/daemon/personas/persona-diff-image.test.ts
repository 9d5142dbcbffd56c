import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { planCreate } from '../../../daemon/personas/personas.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  importBase,
  named,
  type PersonaMachine,
  personaMachine,
  settleTimes,
  storeFacts,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';

const whenRoot = when(test, confinedNeeds);
const whenTools = (...tools: string[]) =>
  when(test, { root: true, tools: ['bwrap', 'setpriv', 'prlimit', ...tools] });

interface Ground {
  machine: PersonaMachine;
  /** The difference as a folder, with the marks of overlayfs. */
  upper: string;
  /** Digest of the image that the wanted tree gives. */
  expected: string;
}

const diffOf = ({ room }: PersonaMachine, name: string): string =>
  room.book.persona(name).layers.find(({ kind }) => kind === 'diff')?.digest ?? '';

async function ground(t: ExecutionContext): Promise<Ground> {
  const machine = await personaMachine(t);
  const tree = writeBaseTree(machine.folder);
  await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
    rmSync(join(path, 'etc/gone'));
    mkdirSync(join(path, 'opt'));
    writeFileSync(join(path, 'opt/big'), Buffer.alloc(300_000, 'big'));
  });
  await createPersona(t, machine, { name: 'expected', base: 'one', tree: named(wanted) });
  const upper = join(machine.folder, 'upper');
  mkdirSync(join(upper, 'etc'), { recursive: true });
  execFileSync('cp', ['-a', join(wanted, 'etc/motd'), join(upper, 'etc')]);
  execFileSync('cp', ['-a', join(wanted, 'opt'), upper]);
  settleTimes(upper);
  return { machine, upper, expected: diffOf(machine, 'expected') };
}

/** Marks the removed file, as overlayfs does. */
function markGone(upper: string): void {
  execFileSync('mknod', ['-m', '0', join(upper, 'etc/gone'), 'c', '0', '0']);
  execFileSync('touch', ['-h', '-d', '@0', join(upper, 'etc/gone')]);
  execFileSync('touch', ['-d', '@1000000000', join(upper, 'etc')]);
}

async function sameImage(
  t: ExecutionContext,
  { machine, expected }: Ground,
  name: string,
  file: Buffer | string,
): Promise<void> {
  const diff = uploaded(machine, file);
  const made = await createPersona(t, machine, { name, base: 'one', diff }, 1000);
  t.true(made.rebuilt);
  t.is(made.persona.signature.origin, 'rebuilt');
  t.is(diffOf(machine, name), expected, name);
}

whenRoot('a layer tar of a container image is taken as a difference', async (t) => {
  const place = await ground(t);
  const { upper, machine } = place;
  writeFileSync(join(upper, 'etc/.wh.gone'), '');
  execFileSync('touch', ['-d', '@1000000000', join(upper, 'etc')]);
  const tar = join(machine.folder, 'layer.tar');
  execFileSync('tar', ['--numeric-owner', '-C', upper, '-cf', tar, '.']);
  await sameImage(t, place, 'plain', tar);
  await sameImage(t, place, 'packed', gzipSync(readFileSync(tar)));
});

whenTools('mke2fs')('an ext4 image is taken as a difference', async (t) => {
  const place = await ground(t);
  markGone(place.upper);
  const image = join(place.machine.folder, 'diff.ext4');
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', place.upper, image, '8M']);
  const { machine } = place;
  // The tool adds a folder of its own.
  const made = await createPersona(t, machine, {
    name: 'ext4',
    base: 'one',
    diff: uploaded(machine, image),
  });
  t.true(made.rebuilt);
  t.is(made.persona.privileged, undefined);
});

whenTools('mksquashfs')('a squashfs image is taken as a difference', async (t) => {
  const place = await ground(t);
  markGone(place.upper);
  const image = join(place.machine.folder, 'diff.squashfs');
  execFileSync('mksquashfs', [place.upper, image, '-noappend', '-quiet', '-no-progress']);
  await sameImage(t, place, 'squashfs', image);
});

whenTools('mkfs.erofs')('an erofs image of the reference tool is rebuilt', async (t) => {
  const place = await ground(t);
  markGone(place.upper);
  const image = join(place.machine.folder, 'diff.erofs');
  execFileSync('mkfs.erofs', ['--quiet', image, place.upper]);
  await sameImage(t, place, 'erofs', image);
});

whenRoot('aborting a change leaves nothing', async (t) => {
  const { machine, upper } = await ground(t);
  const before = await storeFacts(machine);
  writeFileSync(join(upper, 'opt/huge'), Buffer.alloc(60_000_000, 'huge'));
  const tar = join(machine.folder, 'layer.tar');
  execFileSync('tar', ['--numeric-owner', '-C', upper, '-cf', tar, '.']);
  const params = { name: 'late', base: 'one', diff: uploaded(machine, tar) };
  const { changeId, done } = await machine.engine.submit(await planCreate(machine.room, params, 0));
  const working = Promise.withResolvers<void>();
  const stop = await machine.engine.follow(changeId, ({ task }) => {
    if (task?.kind === 'personas.build-difference') working.resolve();
  });
  await working.promise;
  stop();
  await machine.engine.abort(changeId);
  t.is((await done).status, 'aborted');
  t.deepEqual(await storeFacts(machine), before);
});

/** Kills the processes that this one started, again and again until `stop` is called. */
function killChildren(): () => void {
  const timer = setInterval(() => {
    const list = `/proc/${process.pid}/task/${process.pid}/children`;
    for (const pid of readFileSync(list, 'utf8').trim().split(' ').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // it ended by itself meanwhile
      }
    }
  }, 5);
  return () => clearInterval(timer);
}

whenRoot('a child that is killed fails its change, which leaves nothing', async (t) => {
  const { machine, upper } = await ground(t);
  const before = await storeFacts(machine);
  const tar = join(machine.folder, 'layer.tar');
  execFileSync('tar', ['--numeric-owner', '-C', upper, '-cf', tar, '.']);
  const params = { name: 'late', base: 'one', diff: uploaded(machine, tar) };
  const plan = await planCreate(machine.room, params, 0);
  const stop = killChildren();
  try {
    const result = await machine.run(plan);
    t.is(result.status, 'failed');
    t.is(result.error?.code, 'tool-failed', JSON.stringify(result.error));
  } finally {
    stop();
  }
  t.deepEqual(await storeFacts(machine), before);
});
