import { spawn } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Request } from '../../../daemon/api/rooms.ts';
import { silentLog } from '../../../daemon/changes/log.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { planClose } from '../../../daemon/enclave/enclaves.ts';
import { IdleWatch } from '../../../daemon/enclave/idle.ts';
import { enclaveRoom } from '../../../daemon/enclave/room.ts';
import { lockedPlacesInUse } from '../../../daemon/kernel/locked-memory.ts';
import { luksProblem } from '../../../daemon/kernel/luks.ts';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { statMount } from '../../../daemon/kernel/stat-mount.ts';
import { tpmProblem } from '../../../daemon/kernel/tpm-seal.ts';
import type { Tx } from '../../../daemon/store/store.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { fscryptNeeds, requestWith } from '../../support/fscrypt.ts';
import { mountImage } from '../../support/mount-image.ts';
import { scratchFolder, unmountBelow } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { type Asked, ask, mustDo, smallDisk, startSilent } from '../../support/silent-daemon.ts';
import {
  close,
  closeByForce,
  copyWithHoles,
  create,
  holder,
  MiB,
  missingOf,
  open,
  page,
  place,
  remove,
  right,
  volumesIn,
  wrong,
} from './vault.ts';

const works = when(test, fscryptNeeds);

async function failure(daemon: Daemon, asked: Asked): Promise<string | undefined> {
  return (await ask(daemon, asked)).error?.code;
}

works('what is written is there again after closing and opening, and nowhere else', async (t) => {
  const { daemon, path, root } = await place(t);
  await mustDo(daemon, create());
  t.like(await page(daemon), { state: 'closed', bytes: 16 * MiB, key: 'passphrase' });
  const [image = ''] = volumesIn(root);
  t.true(lstatSync(image).blocks * 512 >= 16 * MiB, 'all its blocks are its own');
  t.is(statSync(image).mode & 0o777, 0o600);
  await mustDo(daemon, open());
  t.like(await page(daemon), { state: 'open', path });
  const { options } = readMountinfo().find(({ at }) => at === path)!;
  for (const flag of ['nosuid', 'nodev']) t.true(options.includes(flag), flag);
  t.is(statMount(path).mode & 0o7777, 0o700);
  writeFileSync(join(path, 'canary-name'), 'canary-content');
  await mustDo(daemon, close);
  t.false(existsSync(join(path, 'canary-name')));
  const bytes = readFileSync(image, 'latin1');
  t.false(bytes.includes('canary-content') || bytes.includes('canary-name'));
  await mustDo(daemon, open());
  t.is(readFileSync(join(path, 'canary-name'), 'utf8'), 'canary-content');
  await mustDo(daemon, close);
  t.is(lockedPlacesInUse(), 0, 'nothing of a key is left in our memory');
});

works('nothing of an open enclave spreads to another namespace', async (t) => {
  const { daemon, path } = await place(t);
  await mustDo(daemon, create());
  await mustDo(daemon, open());
  const line = readMountinfo().find(({ at }) => at === path)!;
  t.is(line.shared, undefined);
  t.is(readMountinfo().find(({ id }) => id === line.parent)?.shared, undefined);
  await mustDo(daemon, close);
});

works('what waits behind the end of its enclave ends, and is none of the next one', async (t) => {
  const { daemon } = await place(t);
  const secret = 'x'.repeat(32);
  const changes: Record<string, Asked> = {
    passwd: (m) =>
      m['enclave.passwd']({ enclave: 'vault', secret, new: { key: 'file', secret } }, right),
    recovery: (m) => m['enclave.recovery']({ enclave: 'vault', secret, recovery: secret }, right),
    remove,
  };
  const plan = async (asked: Asked) =>
    (await asked(daemon.rooms.methods(daemon.engine), daemon)).plan;
  await mustDo(daemon, create());
  await mustDo(daemon, open());
  const closings = { close: await plan(close), force: await plan(closeByForce) };
  await mustDo(daemon, close);
  const plans = { ...closings, open: await plan(open()) };
  for (const [name, asked] of Object.entries(changes))
    Object.assign(plans, { [name]: await plan(asked) });
  const late = async () => {
    for (const [name, planned] of Object.entries(plans)) {
      const { status, error } = await (await daemon.engine.submit(planned)).done;
      t.deepEqual([status, error?.code], ['failed', 'enclave-not-found'], name);
    }
  };
  await mustDo(daemon, remove);
  await late();
  // As a version before has journalled it.
  const tasks = plans.open.tasks.map(({ kind, params }) => {
    const { id: _, ...before } = params as { id: string };
    return { kind, params: before };
  });
  t.is((await (await daemon.engine.submit({ ...plans.open, tasks })).done).status, 'failed');
  await mustDo(daemon, create());
  await mustDo(daemon, open());
  await late();
  t.is((await page(daemon)).state, 'open');
  await mustDo(daemon, close);
  await late();
  await mustDo(daemon, open());
  await mustDo(daemon, close);
  t.is(lockedPlacesInUse(), 0);
});

works(
  'what can be said of a volume without its key is told to its owner and to root',
  async (t) => {
    const { daemon, root } = await place(t);
    await mustDo(daemon, create());
    const seen = async (uid: number) => {
      const asker = { ...right, caller: { ...right.caller, uid } };
      const { written } = await daemon.rooms.methods(daemon.engine)['system.integrity']({}, asker);
      return written;
    };
    const well = { kind: 'enclave', name: 'vault', bytes: 16 * MiB, errors: 0 } as const;
    const { uid } = right.caller;
    t.deepEqual(await seen(uid), [{ ...well, mounted: false }]);
    t.deepEqual(await seen(uid + 1), []);
    await mustDo(daemon, open());
    t.deepEqual(await seen(0), [{ ...well, mounted: true }]);
    await mustDo(daemon, close);
    const [image = ''] = volumesIn(root);
    run('mkfs.ext4', '-q', '-F', image);
    t.regex((await seen(uid))[0]?.problem ?? '', /another file system than the one/);
    const { checks } = await daemon.rooms.methods(daemon.engine)['daemon.doctor']({}, right);
    t.is(checks.find(({ name }) => name === 'enclave vault')?.state, 'failed');
    t.regex(checks.find(({ name }) => name === 'memory protection')?.detail ?? '', /no-execute/);
    rmSync(image);
    t.regex((await seen(uid))[0]?.problem ?? '', /cannot be read: ENOENT/);
  },
);

for (const key of ['passphrase', 'file'] as const)
  works(`a wrong ${key} opens nothing, and leaves nothing behind`, async (t) => {
    const { daemon, path } = await place(t);
    await mustDo(daemon, create(right, 16 * MiB, key));
    const { error } = await ask(daemon, open(wrong));
    t.is(error?.code, 'wrong-key');
    t.regex(error?.message ?? '', key === 'file' ? /key file/ : /passphrase/);
    t.like(await page(daemon), { state: 'closed' });
    t.false(readMountinfo().some(({ at }) => at === path));
    t.is(lockedPlacesInUse(), 0);
    await mustDo(daemon, open(right));
    await mustDo(daemon, close);
  });

works('a credential opens it as well as the same bytes by another way', async (t) => {
  const { daemon } = await place(t);
  const shape = { name: 'vault', bytes: 16 * MiB, type: 'fscrypt' as const };
  for (const wrongly of [
    { key: 'credential' as const, secret: 'x'.repeat(32) },
    { key: 'file' as const, credential: 'vault-key' },
    { key: 'credential' as const, credential: 'vault-key', secret: 'x'.repeat(32) },
  ])
    await t.throwsAsync(
      ask(daemon, (methods) => methods['enclave.create']({ ...shape, ...wrongly }, right)),
      { code: 'bad-value' },
    );
  // Of what is refused the API wipes the secret.
  const refused = lockedPlacesInUse();
  const credential = 'vault-key';
  const by = (request: Request): Asked => {
    return (methods) => methods['enclave.open']({ enclave: 'vault', credential }, request);
  };
  await mustDo(daemon, (methods) =>
    methods['enclave.create']({ ...shape, key: 'credential', credential }, right),
  );
  t.like(await page(daemon), { key: 'credential', credential });
  const { error } = await ask(daemon, by(wrong));
  t.is(error?.code, 'wrong-key');
  t.regex(error?.message ?? '', /not its credential/);
  for (const way of [by(right), open(right)]) {
    await mustDo(daemon, way);
    await mustDo(daemon, close);
  }
  t.is(lockedPlacesInUse(), refused);
  const methods = daemon.rooms.methods(daemon.engine);
  const { assurance } = await methods['enclave.show']({ enclave: 'vault' }, right);
  t.regex(assurance.key, /of credential vault-key/);
  t.regex(assurance.protection, /no-execute pages/);
  t.regex(assurance.sameUser, /read the memory of/);
  t.true(
    assurance.reach.closed.some((text) => text.startsWith('root on this machine: everything')),
  );
});

when(test, {
  ...fscryptNeeds,
  other: () =>
    fscryptNeeds.other() ?? (luksProblem() === undefined ? 'needs no device-mapper' : undefined),
})('without device-mapper LUKS2 is refused, and auto is fscrypt', async (t) => {
  const { daemon } = await place(t);
  const by = (type: 'auto' | 'luks2'): Asked => {
    const shape = { name: 'vault', bytes: 16 * MiB, key: 'file' as const, secret: 'x'.repeat(32) };
    return (methods) => methods['enclave.create']({ ...shape, type }, right);
  };
  await t.throwsAsync(ask(daemon, by('luks2')), {
    code: 'capability-missing',
    message: /LUKS2: (device-mapper is not there|cryptsetup is not installed)/,
  });
  await mustDo(daemon, by('auto'));
  t.is((await page(daemon)).type, 'fscrypt');
});

when(test, {
  ...fscryptNeeds,
  other: () =>
    fscryptNeeds.other() ?? (tpmProblem() === undefined ? 'needs no TPM 2.0' : undefined),
})('without a TPM none can have the key, and a secret beside one is refused', async (t) => {
  const { daemon } = await place(t);
  const shape = { name: 'vault', bytes: 16 * MiB, key: 'tpm2' as const };
  await t.throwsAsync(
    ask(daemon, (methods) => methods['enclave.create'](shape, right)),
    {
      code: 'capability-missing',
      message: /the machine lacks a TPM 2\.0 \(\/dev\/tpmrm0: ENOENT\)/,
    },
  );
  await t.throwsAsync(
    ask(daemon, (m) => m['enclave.create']({ ...shape, secret: 'x'.repeat(32) }, right)),
    { code: 'bad-value', message: /the TPM has it/ },
  );
});

const passwd =
  (from: Request, to: Request, key: 'passphrase' | 'file' = 'passphrase'): Asked =>
  (methods) => {
    const requests = [from, to];
    const inTurn: Request = {
      ...from,
      secret: (ticket) => (requests.shift() ?? to).secret(ticket),
    };
    const ticket = 'x'.repeat(32);
    return methods['enclave.passwd'](
      { enclave: 'vault', secret: ticket, new: { key, secret: ticket } },
      inTurn,
    );
  };

works(
  'after a change of the key the old one opens nothing, and what was in it is there',
  async (t) => {
    const { daemon, path, root } = await place(t);
    await mustDo(daemon, create());
    await mustDo(daemon, open());
    writeFileSync(join(path, 'note'), 'kept');
    const records = () =>
      readdirSync(join(pathsOf(root).state, 'enclaves'), { recursive: true }).sort();
    const before = { records: records(), places: lockedPlacesInUse() };
    t.is((await ask(daemon, passwd(wrong, right))).error?.code, 'wrong-key');
    t.deepEqual(records(), before.records);
    // While it is open, and to another kind of key.
    await mustDo(daemon, passwd(right, wrong, 'file'));
    t.deepEqual(records(), before.records);
    t.like(await page(daemon), { state: 'open', key: 'file' });
    await mustDo(daemon, close);
    t.is((await ask(daemon, open(right))).error?.code, 'wrong-key');
    await mustDo(daemon, open(wrong));
    t.is(readFileSync(join(path, 'note'), 'utf8'), 'kept');
    await mustDo(daemon, close);
    t.is(lockedPlacesInUse(), before.places);
  },
);

/** Makes a recovery key of what the second request has; the first opens the enclave. */
const recovery =
  (from: Request, to: Request): Asked =>
  (methods) => {
    const requests = [from, to];
    const inTurn = {
      ...from,
      secret: (ticket: string) => (requests.shift() ?? to).secret(ticket),
    };
    const ticket = 'x'.repeat(32);
    return methods['enclave.recovery'](
      { enclave: 'vault', secret: ticket, recovery: ticket },
      inTurn,
    );
  };
const byRecovery =
  (request: Request): Asked =>
  (methods) =>
    methods['enclave.open']({ enclave: 'vault', secret: 'x'.repeat(32), recovery: true }, request);

works(
  'a recovery key opens it when what else opens it is lost, and gives it another',
  async (t) => {
    const { daemon, path, root } = await place(t);
    const [first, second] = [requestWith('recovery one'), requestWith('recovery two')];
    await mustDo(daemon, create());
    await t.throwsAsync(ask(daemon, byRecovery(first)), { message: /vault has none/ });
    // Of what is refused the API wipes the secret.
    const places = lockedPlacesInUse();
    t.is((await ask(daemon, recovery(wrong, first))).error?.code, 'wrong-key');
    t.is((await page(daemon)).recovery, undefined);
    await mustDo(daemon, recovery(right, first));
    t.is((await page(daemon)).recovery, true);
    await mustDo(daemon, byRecovery(first));
    writeFileSync(join(path, 'note'), 'kept');
    await mustDo(daemon, close);
    // Another one takes its place; what else opens it opens it as before, and is no recovery key.
    await mustDo(daemon, recovery(right, second));
    for (const none of [first, right]) {
      const { error } = await ask(daemon, byRecovery(none));
      t.regex(error?.message ?? '', /not its recovery key/);
    }
    await mustDo(daemon, open());
    await mustDo(daemon, close);
    const [image = ''] = volumesIn(root);
    rmSync(join(image, '../key.json'));
    t.is(await failure(daemon, open()), 'state-damaged');
    const methods = daemon.rooms.methods(daemon.engine);
    const { assurance } = await methods['enclave.show']({ enclave: 'vault' }, right);
    t.regex(assurance.key, /only its recovery key opens/);
    await mustDo(daemon, byRecovery(second));
    t.is(readFileSync(join(path, 'note'), 'utf8'), 'kept');
    const requests = [second, wrong];
    const inTurn = { ...second, secret: (ticket: string) => requests.shift()!.secret(ticket) };
    const ticket = 'x'.repeat(32);
    await mustDo(daemon, (m) =>
      m['enclave.passwd'](
        { enclave: 'vault', secret: ticket, recovery: true, new: { key: 'file', secret: ticket } },
        inTurn,
      ),
    );
    await mustDo(daemon, close);
    await mustDo(daemon, open(wrong));
    await mustDo(daemon, close);
    const kept = join(root, 'kept-recovery');
    run('ln', join(image, '../recovery.json'), kept);
    await mustDo(daemon, remove);
    t.true(readFileSync(kept).every((byte) => byte === 0));
    t.is(lockedPlacesInUse(), places);
  },
);

works('an empty secret is refused, and a size that is none', async (t) => {
  const { daemon } = await place(t);
  await t.throwsAsync(ask(daemon, create(requestWith(''))), { code: 'bad-value' });
  for (const bytes of [0, 16 * MiB - 1, 2 ** 50])
    await t.throwsAsync(ask(daemon, create(right, bytes)), { code: 'bad-value' });
  await t.throwsAsync(ask(daemon, open()), { code: 'enclave-not-found' });
});

works('of two openings at once one is refused, and a second creation, too', async (t) => {
  const { daemon, path, root } = await place(t);
  const made = await Promise.all([ask(daemon, create()), ask(daemon, create())]);
  t.deepEqual(made.map(({ status }) => status).sort(), ['done', 'failed']);
  t.is(volumesIn(root).length, 1);
  await t.throwsAsync(ask(daemon, create()), { code: 'already-exists' });
  const opened = await Promise.all([ask(daemon, open()), ask(daemon, open())]);
  t.deepEqual(opened.map(({ status }) => status).sort(), ['done', 'failed']);
  t.is(opened.find(({ error }) => error !== undefined)?.error?.code, 'enclave-state');
  t.true(statMount(path).isMountRoot);
  await t.throwsAsync(ask(daemon, open()), { code: 'enclave-state' });
  await mustDo(daemon, close);
  await t.throwsAsync(ask(daemon, close), { code: 'enclave-state' });
});

works('while somebody is inside it is not closed, and who is said', async (t) => {
  const { daemon, path } = await place(t);
  await mustDo(daemon, create());
  await mustDo(daemon, open());
  writeFileSync(join(path, 'note'), 'x');
  const { child: inside, end } = await holder(t, join(path, 'note'));
  const { error } = await ask(daemon, close);
  t.is(error?.code, 'enclave-busy');
  t.regex(error?.message ?? '', new RegExp(`tail, pid ${inside.pid}`));
  t.is(readFileSync(join(path, 'note'), 'utf8'), 'x', 'it is where it was');
  t.like(await page(daemon), { state: 'open', inside: [{ pid: inside.pid, command: 'tail' }] });
  await t.throwsAsync(ask(daemon, remove), { code: 'enclave-state' });
  await end();
  await mustDo(daemon, close);
});

works('it stays open over a restart of the daemon, and is closed by the next one', async (t) => {
  const here = await place(t);
  await mustDo(here.daemon, create());
  await mustDo(here.daemon, open());
  writeFileSync(join(here.path, 'note'), 'x');
  const daemon = await here.again();
  t.like(await page(daemon), { state: 'open' });
  t.is(readFileSync(join(here.path, 'note'), 'utf8'), 'x');
  await mustDo(daemon, close);
  t.like(await page(daemon), { state: 'closed' });
});

works('what a reboot has closed is closed', async (t) => {
  const here = await place(t);
  await mustDo(here.daemon, create());
  await mustDo(here.daemon, open());
  await here.daemon.stop();
  await unmountBelow(here.root);
  here.daemon = await startSilent(here.root);
  t.like(await page(here.daemon), { state: 'closed' });
  await mustDo(here.daemon, open());
  await mustDo(here.daemon, close);
});

works('an enclave without a row is taken up again; half of one is left as it is', async (t) => {
  const here = await place(t);
  await mustDo(here.daemon, create());
  const before = await page(here.daemon);
  await here.daemon.store.commit((tx) => tx.run('DELETE FROM enclaves'));
  const half = join(pathsOf(here.root).state, 'enclaves/half');
  mkdirSync(half);
  writeFileSync(join(half, 'volume.ext4'), 'x');
  // What cannot even be read keeps no other one from it, whichever comes first.
  const odd = ['0', 'z'].map((name) => join(pathsOf(here.root).state, 'enclaves', name));
  for (const one of odd) mkdirSync(join(one, 'enclave.json'), { recursive: true });
  const daemon = await here.again();
  t.deepEqual(await page(daemon), before);
  await mustDo(daemon, open());
  await mustDo(daemon, close);
  t.deepEqual(readdirSync(half), ['volume.ext4']);
  for (const one of odd) t.deepEqual(readdirSync(one), ['enclave.json']);
});

works(
  'where an older row says that the TPM has the key, the record tells what has it',
  async (t) => {
    const here = await place(t);
    await mustDo(here.daemon, create());
    const [row] = await here.daemon.store.all('SELECT detail FROM enclaves');
    const older = { ...JSON.parse(String(row?.detail)), key: 'tpm2' };
    await mustDo(here.daemon, passwd(right, wrong, 'file'));
    await here.daemon.store.commit((tx) =>
      tx.run('UPDATE enclaves SET detail = ?', JSON.stringify(older)),
    );
    await t.throwsAsync(ask(here.daemon, open(wrong)), { message: /the TPM has it/ });
    const daemon = await here.again();
    t.like(await page(daemon), { state: 'closed', key: 'file' });
    await mustDo(daemon, open(wrong));
    await mustDo(daemon, close);
  },
);

works(
  'an enclave behind an older row of its name is told, and taken up after that one',
  async (t) => {
    const here = await place(t);
    await mustDo(here.daemon, create());
    const [older] = await here.daemon.store.all('SELECT id FROM enclaves');
    await mustDo(here.daemon, remove);
    await mustDo(here.daemon, create(wrong));
    const [newer] = await here.daemon.store.all('SELECT id FROM enclaves');
    const put = (id: unknown) => (tx: Tx) => tx.run('UPDATE enclaves SET id = ?', String(id));
    await here.daemon.store.commit(put(older?.id));
    const second = await here.again();
    const { state, problem } = await page(second);
    t.is(state, 'missing');
    t.true(problem?.includes(join('enclaves', String(newer?.id))), problem);
    await mustDo(second, remove);
    const third = await here.again();
    t.is((await page(third)).problem, undefined);
    await mustDo(third, open(wrong));
    await mustDo(third, close);
  },
);

works('removed means that the key is gone, too: a copy of the volume is noise', async (t) => {
  const { daemon, root, path } = await place(t);
  await mustDo(daemon, create());
  const [image = ''] = volumesIn(root);
  const key = join(image, '../key.json');
  const before = readFileSync(key, 'latin1');
  // A second name of the same file shows what becomes of its bytes.
  const copy = join(root, 'kept-key');
  run('ln', key, copy);
  await mustDo(daemon, remove);
  t.false(existsSync(image));
  t.false(existsSync(path));
  const after = readFileSync(copy);
  t.is(after.length, before.length);
  t.true(after.every((byte) => byte === 0));
  await t.throwsAsync(page(daemon), { code: 'enclave-not-found' });
  await mustDo(daemon, create());
});

works('a lost volume or key is told, cannot be opened, and can be removed', async (t) => {
  const { daemon, root } = await place(t);
  await mustDo(daemon, create());
  const [image = ''] = volumesIn(root);
  renameSync(join(image, '../key.json'), join(root, 'key.json'));
  t.like(await page(daemon), { state: 'missing' });
  t.is(await failure(daemon, open()), 'state-damaged');
  writeFileSync(
    join(image, '../key.json'),
    readFileSync(join(root, 'key.json'), 'utf8').replace(/"wrapped": "./, '"wrapped": "x'),
  );
  t.is(await failure(daemon, open()), 'state-damaged');
  await mustDo(daemon, remove);
});

works('on a full disk nothing is made and nothing is left', async (t) => {
  const root = scratchFolder(t);
  const image = join(root, 'disk');
  run('truncate', '-s', '96M', image);
  run('mkfs.ext4', '-q', '-F', image);
  const disk = join(root, 'mounted');
  mkdirSync(disk);
  mountImage(image, disk);
  const { daemon } = await place(t, disk);
  await t.throwsAsync(ask(daemon, create(right, 80 * MiB)), { code: 'no-space' });
  // The space goes between the look and the work.
  const methods = daemon.rooms.methods(daemon.engine);
  const { plan } = await create(right, 40 * MiB)(methods, daemon);
  const { bytes: _, ...needs } = plan.needs ?? {};
  run('fallocate', '-l', '30M', join(disk, 'filler'));
  const result = await (await daemon.engine.submit({ ...plan, needs })).done;
  t.like(result, { status: 'failed', error: { code: 'no-space' } });
  t.deepEqual(volumesIn(disk), []);
  run('rm', join(disk, 'filler'));
  // Inside it is full without the disk being so, and goes on when something is removed.
  await mustDo(daemon, create(right));
  await mustDo(daemon, open());
  const path = join(pathsOf(disk).run, 'enclaves/vault');
  t.throws(() => writeFileSync(join(path, 'big'), Buffer.alloc(32 * MiB)), { code: 'ENOSPC' });
  run('rm', join(path, 'big'));
  writeFileSync(join(path, 'small'), 'x');
  await mustDo(daemon, close);
});

works(
  'blocks that a copy has left out are taken again, or told while the disk is full',
  async (t) => {
    const { root: disk } = smallDisk(t, 160);
    const here = await place(t, disk);
    await mustDo(here.daemon, create(right, 48 * MiB));
    const [image = ''] = volumesIn(disk);
    const isWhole = () => lstatSync(image).blocks * 512 >= 48 * MiB;
    const copy = () => {
      copyWithHoles(image);
      t.false(isWhole());
    };
    const filler = join(disk, 'filler');
    const fill = (bytes: number) => {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(disk);
      run('fallocate', '-l', String(bavail * bsize - bytes), filler);
    };
    copy();
    await mustDo(here.daemon, open());
    t.true(isWhole());
    t.is((await page(here.daemon)).problem, undefined);
    writeFileSync(join(here.path, 'note'), 'kept');
    await mustDo(here.daemon, close);
    copy();
    fill(32 * MiB);
    await mustDo(here.daemon, open());
    t.is(readFileSync(join(here.path, 'note'), 'utf8'), 'kept');
    const told = /^(enclave vault: )?4\d(\.\d+)? MiB of it are not set aside: make room/;
    t.regex((await page(here.daemon)).problem ?? '', told);
    const methods = here.daemon.rooms.methods(here.daemon.engine);
    t.true((await methods.status.notices()).some(({ text }) => told.test(text)));
    const { checks } = await methods['daemon.doctor']({}, right);
    t.regex(checks.find(({ name }) => name === 'enclave vault')?.detail ?? '', told);
    // What is kept free is not there for them: else nothing could be changed any more, this enclave not be opened either.
    fill(56 * MiB);
    const next = await here.again();
    t.false(isWhole());
    await mustDo(next, close);
    await mustDo(next, open());
    t.false(isWhole());
    t.regex((await page(next)).problem ?? '', told);
    // Of one that was left open they are taken at the next start.
    rmSync(filler);
    const daemon = await here.again();
    t.true(isWhole());
    t.is((await page(daemon)).problem, undefined);
    await mustDo(daemon, close);
    // What is shorter than it was is not made to look whole.
    run('truncate', '-s', '24M', image);
    t.is((await ask(daemon, open())).status, 'failed');
    t.is(lstatSync(image).size, 24 * MiB);
  },
);

works(
  'of two that are opened at once one takes the last blocks, and none is left with a part',
  async (t) => {
    const { root: disk } = smallDisk(t, 160);
    const { daemon } = await place(t, disk);
    for (const name of ['vault', 'other'])
      await mustDo(daemon, create(right, 32 * MiB, 'passphrase', name));
    const images = volumesIn(disk);
    for (const image of images) copyWithHoles(image);
    const { bavail, bsize } = statfsSync(disk);
    // 16 MiB are kept free.
    run('fallocate', '-l', String(bavail * bsize - 56 * MiB), join(disk, 'filler'));
    await Promise.all([mustDo(daemon, open()), mustDo(daemon, open(right, {}, 'other'))]);
    const [least = 0, most = 0] = images.map(missingOf).sort((a, b) => a - b);
    t.is(least, 0);
    t.true(most > 24 * MiB, `${most}`);
    await mustDo(daemon, close);
    await mustDo(daemon, (m) => m['enclave.close']({ enclave: 'other' }, right));
  },
);

works('idle is closed, used is not', async (t) => {
  const { daemon, root, path } = await place(t);
  await mustDo(daemon, create());
  await t.throwsAsync(ask(daemon, open(right, { idleMs: 9_999 })), { code: 'bad-value' });
  await mustDo(daemon, open(right, { idleMs: 10_000 }));
  t.like(await page(daemon), { idleMs: 10_000 });
  const room = enclaveRoom({
    store: daemon.store,
    log: silentLog,
    paths: pathsOf(root),
    now: Date.now,
    spareBytes: () => 0,
  });
  let now = 0;
  const closed: string[] = [];
  const end = Promise.withResolvers<void>();
  const watch = new IdleWatch({
    room,
    clock: () => now,
    async close(enclave) {
      const { done } = await daemon.engine.submit(await planClose(room, { enclave }, { uid: 0 }));
      closed.push(`${enclave} at ${now}: ${(await done).status}`);
      end.resolve();
    },
  });
  const isOpen = () => statMount(path).isMountRoot;
  await watch.look();
  now = 9_000;
  await watch.look();
  t.true(isOpen());
  // Written to meanwhile: the rest begins anew.
  writeFileSync(join(path, 'note'), 'x');
  run('sync', '-f', path);
  now = 11_000;
  await watch.look();
  t.true(isOpen());
  // Somebody is inside.
  const inside = spawn('sleep', ['60'], { cwd: path, stdio: 'ignore' });
  const gone = new Promise((resolve) => inside.once('exit', resolve));
  t.teardown(() => inside.kill('SIGKILL'));
  await new Promise((resolve) => inside.once('spawn', resolve));
  now = 40_000;
  await watch.look();
  t.true(isOpen());
  inside.kill('SIGKILL');
  await gone;
  now = 45_000;
  await watch.look();
  t.true(isOpen());
  now = 55_000;
  await watch.look();
  await end.promise;
  t.false(isOpen());
  t.deepEqual(closed, ['vault at 55000: done'], 'then only');
  await watch.stop();
});
