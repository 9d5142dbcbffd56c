import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Outlet } from '../../../daemon/api/outlet.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { mustDo, rootRequest, smallTree, startSilent } from '../../support/silent-daemon.ts';

// A restore that is killed leaves the old state or the new one, wherever that happens.

const child = new URL('./restore-child.ts', import.meta.url).pathname;

/** A backup that is written to a file by the test itself. */
function intoFile(path: string): Outlet {
  writeFileSync(path, '');
  const outlet = {
    closed: false,
    write: async (bytes: Uint8Array) => writeFileSync(path, bytes, { flag: 'a' }),
    end: async () => undefined,
    close: () => undefined,
  };
  return outlet as unknown as Outlet;
}

/** The kernel may take this long to end the tree of a process that was killed. */
const endMs = 20_000;

/** What the state is now, after a start and a stop. */
async function seen(root: string): Promise<unknown> {
  const deadline = performance.now() + endMs;
  for (;;) {
    const { held, ...found } = await looked(root);
    if (!held || performance.now() > deadline) return found;
  }
}

async function looked(root: string): Promise<{ held: boolean; [fact: string]: unknown }> {
  const daemon = await startSilent(root);
  try {
    const notices = await daemon.rooms.methods(daemon.engine).status.notices();
    const mine = join(root, 'run/slots/work/root/etc/mine');
    return {
      // A killed process is not gone at once, and no power cut leaves one.
      held: notices.some(({ text }) => /^slot work: .*still/.test(text)),
      degraded: daemon.degraded,
      open: daemon.engine.open().length,
      mine: existsSync(mine) ? readFileSync(mine, 'utf8') : undefined,
      slots: await daemon.store.all('SELECT name, current FROM slots ORDER BY name'),
      personas: await daemon.store.all('SELECT name FROM personas ORDER BY name'),
      layers: readdirSync(join(root, 'state/layers')).length,
      left: ['restore', 'slots/.restore'].filter((name) => existsSync(join(root, 'state', name))),
      stray: readdirSync(join(root, 'state/staging')),
    };
  } finally {
    await daemon.stop();
    await unmountBelow(root);
  }
}

when(test, { root: true, tools: ['bwrap'] })(
  'a restore that is killed anywhere leaves the old state or the new one',
  async (t) => {
    t.timeout(900_000);
    const root = mkdtempSync(join(tmpdir(), 'personad-exchange-'));
    const template = `${root}.template`;
    const file = `${root}.backup`;
    t.teardown(async () => {
      await unmountBelow(root);
      for (const one of [root, template, file]) rmSync(one, { recursive: true, force: true });
    });
    const daemon = await startSilent(root);
    const mine = join(root, 'run/slots/work/root/etc/mine');
    await mustDo(daemon, (methods) =>
      methods['base.import'](
        { name: 'base', source: { kind: 'path', path: smallTree(root, 'base') } },
        rootRequest,
      ),
    );
    const create = (name: string) =>
      mustDo(daemon, (methods) =>
        methods['persona.create'](
          { name, base: 'base', tree: { kind: 'path', path: smallTree(root, name) } },
          rootRequest,
        ),
      );
    await create('a');
    await mustDo(daemon, (methods) => methods['slot.create']({ name: 'work' }, rootRequest));
    await mustDo(daemon, (methods) =>
      methods['slot.swap']({ slot: 'work', persona: 'a' }, rootRequest),
    );
    writeFileSync(mine, 'of the backup');
    const output = () => intoFile(file);
    await mustDo(daemon, (methods) =>
      methods['system.backup']({ ticket: 'abcdefgh' }, { ...rootRequest, output }),
    );
    await create('b');
    await mustDo(daemon, (methods) => methods['slot.create']({ name: 'other' }, rootRequest));
    await mustDo(daemon, (methods) =>
      methods['slot.swap']({ slot: 'work', persona: 'b' }, rootRequest),
    );
    writeFileSync(mine, 'of today');
    await daemon.stop();
    await unmountBelow(root);
    cpSync(root, template, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    const old = await seen(root);

    const results: string[] = [];
    let restored: unknown;
    for (let at = 1; ; at += 1) {
      rmSync(root, { recursive: true, force: true });
      cpSync(template, root, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
      const args = ['--no-warnings', child, root, file, String(at)];
      const { signal, status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      if (at % 3 === 0) await unmountBelow(root); // as after a power cut
      const now = await seen(root);
      if (signal === null) {
        t.is(status, 0, stderr);
        restored ??= now;
        t.deepEqual(now, restored);
        break;
      }
      const isOld = JSON.stringify(now) === JSON.stringify(old);
      if (!isOld) restored ??= now;
      t.deepEqual(now, isOld ? old : restored, `killed at point ${at}`);
      if (at % 4 === 0) t.deepEqual(await seen(root), now, `a second start after point ${at}`);
      results.push(isOld ? 'old' : 'new');
    }
    t.like(old, { mine: 'of today', degraded: undefined, open: 0, left: [], stray: [] });
    t.like(restored, { mine: 'of the backup', degraded: undefined, open: 0, left: [], stray: [] });
    t.true(results.length > 20);
    t.regex(results.join(' '), /^(old )+(new ?)+$/, 'once new, always new');
    t.true(readdirSync(join(root, 'state/quarantine')).some((name) => name.endsWith('-replaced')));
  },
);
