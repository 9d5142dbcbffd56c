import {
  chmodSync,
  existsSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import type { Request } from '../../../daemon/api/rooms.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { hasFuse, mountHung } from '../../support/hung-mount.ts';
import { hasTool, run, when } from '../../support/needs.ts';
import { ask, mustDo, rootRequest, startSilent } from '../../support/silent-daemon.ts';
import {
  entry,
  games,
  gamesEntries,
  gamesFolder,
  gamesRequest,
  paintMachine,
  smallMachine,
} from './small-machine.ts';

// What a daemon knows of applications, on a machine of the test's own.

const rooted = when(test, { root: true });
const paint = 'org.paint.Paint';

async function daemonOn(t: ExecutionContext, root: string): Promise<Daemon> {
  const daemon = await startSilent(root);
  t.teardown(() => daemon.stop());
  return daemon;
}

const methodsOf = ({ rooms, engine }: Daemon) => rooms.methods(engine);

async function factsOf(daemon: Daemon, app: string, request: Request = rootRequest) {
  const { application } = await methodsOf(daemon)['app.show']({ app }, request);
  return (fact: string) =>
    application.facts
      .filter((one) => one.fact === fact)
      .map(({ value, source }) => [value, source] as const);
}

const explain = async (daemon: Daemon, app: string, request: Request = rootRequest) =>
  (await methodsOf(daemon)['app.explain']({ app }, request)).explanation;

const file = (root: string, path: string) => {
  const { dev, ino } = statSync(join(root, 'machine', path), { bigint: true });
  return { path: `/${path}`, device: `${dev}`, inode: `${ino}` };
};

rooted(
  'what the lists of a machine say is one application, each fact with its source',
  async (t) => {
    const { root } = paintMachine(t);
    const daemon = await daemonOn(t, root);
    const facts = await factsOf(daemon, paint);
    t.deepEqual(facts('name'), [['Paint', 'imported']]);
    t.deepEqual(facts('executables'), [[['/usr/bin/paint'], 'imported']]);
    t.deepEqual(facts('security'), [
      ['sensitive', 'imported'],
      ['sensitive', 'category'],
    ]);
    t.deepEqual(facts('cpu'), [['high', 'imported']]);
    t.deepEqual(facts('storage'), [[2048 * 1024, 'imported']]);
    t.deepEqual(facts('dependencies')[0], [['libc6', 'libgtk'], 'imported']);
    t.deepEqual(facts('data'), [
      [['~/.config/paint'], 'imported'],
      [['~/.paint'], 'imported'],
    ]);
    const explained = await explain(daemon, paint);
    const profile = hasTool('bwrap') ? 'fast' : 'standard';
    t.like(explained, { profile, rule: 'suggested', cpu: 'high' });
    t.regex(explained.why, /psd\/browsers\/paint:\d+ proposes fast/);
    t.deepEqual(explained.recognised, {
      by: 'executable',
      path: '/usr/bin/paint',
      package: 'paint-gtk',
    });
    t.true(explained.suggestions.some(({ profile }) => profile === 'secure'));
    const { applications } = await methodsOf(daemon)['app.list']({ match: 'pAiNt' }, rootRequest);
    t.deepEqual(
      applications.map(({ id }) => id),
      [paint],
    );
  },
);

rooted('an import tells what it read, and what it did not understand, with its line', async (t) => {
  const { root } = paintMachine(t);
  const daemon = await daemonOn(t, root);
  const told = await methodsOf(daemon)['app.import']({}, rootRequest);
  const counts = Object.fromEntries(told.counts.map(({ kind, entries }) => [kind, entries]));
  t.like(counts, { desktop: 2, ananicy: 1, firejail: 1, psd: 1, tuned: 1, dpkg: 1 });
  t.deepEqual(
    told.problems.map(({ from }) => from),
    [
      '/etc/ananicy.d/all/paint.rules:3',
      '/etc/ananicy.d/all/paint.rules:4',
      '/etc/firejail/paint.profile:7',
      '/usr/lib/tuned/quick/tuned.conf:6',
    ],
  );
  t.false(existsSync(join(root, 'ran')), 'nothing of it was run');
  t.deepEqual(
    told.presets.map(({ name, summary, include, sets }) => ({ name, summary, include, sets })),
    [{ name: 'quick', summary: 'Be quick', include: ['balanced'], sets: ['vm'] }],
  );
});

rooted('who asks for what is stated gets it, however many applications are known', async (t) => {
  const { root, write } = paintMachine(t);
  const many = Array.from({ length: 1001 }, (_, n) => `[app${n}]\nmemory = "1G"\n`).join('');
  write('share/apps.d/many.toml', many);
  write('etc/apps.d/zoom.toml', '[zoom]\nprofile = "secure"\nexecutables = ["/usr/bin/paint"]\n');
  const { 'app.list': list } = methodsOf(await daemonOn(t, root));
  const { applications, more } = await list({}, rootRequest);
  t.is(applications.length, 1000);
  t.true(more > 0 && applications.every(({ id }) => id !== 'zoom'));
  const stated = await list({ stated: true }, rootRequest);
  t.deepEqual(
    stated.applications.map(({ id }) => id),
    ['zoom'],
  );
  t.is(stated.more, 0);
});

rooted('files of apps.d: the administrator outvotes the user, and he the lists', async (t) => {
  const { root, write } = paintMachine(t);
  write('share/apps.d/paint.toml', `["${paint}"]\nmemory = "1G"\ncpu = "normal"\n`);
  write('etc/apps.d/paint.toml', `["${paint}"]\nloss_ok = false\nmemory = "3G"\n`);
  write(`${gamesFolder}/mine.toml`, `["${paint}"]\nprofile = "secure"\nloss_ok = true\nbad = 1\n`, {
    owner: games.uid,
  });
  const daemon = await daemonOn(t, root);
  const mine = await factsOf(daemon, paint, gamesRequest);
  t.deepEqual(mine('memory'), [
    [3 * 1024 ** 3, 'admin'],
    [1024 ** 3, 'imported'],
  ]);
  t.deepEqual(mine('lossOk'), [
    [false, 'admin'],
    [true, 'user'],
  ]);
  t.deepEqual(mine('profile')[0], ['secure', 'user']);
  t.deepEqual((await factsOf(daemon, paint))('lossOk'), [[false, 'admin']]);
  const { problems } = await methodsOf(daemon)['app.import']({}, gamesRequest);
  t.true(problems.some(({ from }) => from === `/${gamesFolder.slice(8)}/mine.toml:4`));
  const secure = await explain(daemon, paint, gamesRequest);
  t.is(secure.profile, 'secure');
  t.truthy(secure.refused);
});

rooted('a program is known by its file, not by its name', async (t) => {
  const { root, write } = paintMachine(t);
  const daemon = await daemonOn(t, root);
  write('machine/home/paint', '#!/bin/true\n', { mode: 0o755 });
  const { 'app.explain': ask } = methodsOf(daemon);
  const by = async (executable: ReturnType<typeof file>, app?: string) => {
    const { explanation } = await ask({ executable, ...(app && { app }) }, rootRequest);
    return [explanation.recognised.by, explanation.id, explanation.cpu];
  };
  const own = file(root, 'usr/bin/paint');
  t.deepEqual(await by(own), ['executable', paint, 'high']);
  t.deepEqual(await by({ ...own, path: '/tmp/other-name' }), ['executable', paint, 'high']);
  const other = file(root, 'home/paint');
  t.deepEqual(await by(other), ['name', 'paint', 'normal']);
  t.deepEqual(await by({ ...other, path: own.path }), ['name', 'paint', 'normal']);
  t.deepEqual(await by(other, paint), ['name', paint, 'normal']);
  t.deepEqual(await by(file(root, 'etc/firejail/paint.profile')), [
    'nothing',
    'paint.profile',
    'normal',
  ]);
  // A package was updated: another file lies at the same path.
  renameSync(join(root, 'machine/home/paint'), join(root, 'machine/usr/bin/paint'));
  t.deepEqual(await by(file(root, 'usr/bin/paint')), ['executable', paint, 'high']);
});

rooted('desktop entries of a user are applications of his, and claim none of others', async (t) => {
  const { root, write } = paintMachine(t);
  const owner = games.uid;
  const own = (name: string, text: string, more = {}) =>
    write(`${gamesEntries}/${name}.desktop`, text, { owner, ...more });
  const program = `${games.home}/bin/sketch`;
  write(`machine/${program}`, '#!/bin/true\n', { mode: 0o755 });
  own('sketch', entry('Sketch', `/${program} %U`, 'Categories=Game;\n'));
  // Another program under the id of an application; another id for its program; and one that sorts before it.
  own(paint, entry('Evil', `/${program}`));
  own('aaa', entry('Evil', '/usr/bin/paint'));
  own('others', entry('Others', `/${program}`), { owner: 0, mode: 0o666 });
  symlinkSync('/etc/passwd', join(root, gamesEntries, 'link.desktop'));
  const daemon = await daemonOn(t, root);
  const { 'app.explain': ask, 'app.import': read } = methodsOf(daemon);
  const facts = await factsOf(daemon, 'sketch', gamesRequest);
  t.deepEqual(facts('executables'), [[[`/${program}`], 'user']]);
  const by = async (path: string) => {
    const { explanation } = await ask({ executable: file(root, path) }, gamesRequest);
    return [explanation.recognised.by, explanation.id, explanation.cpu];
  };
  t.deepEqual(await by(program), ['executable', 'sketch', 'normal']);
  t.deepEqual(await by('usr/bin/paint'), ['executable', paint, 'high']);
  const theirs = await factsOf(daemon, paint, gamesRequest);
  t.deepEqual(theirs('executables'), [[['/usr/bin/paint'], 'imported']]);
  t.deepEqual(theirs('name'), [['Paint', 'imported']]);
  // Nobody else has them.
  t.is(
    (await ask({ executable: file(root, program) }, rootRequest)).explanation.recognised.by,
    'nothing',
  );
  const { problems, counts } = await read({}, gamesRequest);
  t.is(counts.find(({ kind }) => kind === 'own desktop')?.entries, 3);
  for (const [name, why] of [
    ['others', /others than its owner can write/],
    ['link', /link/],
  ] as const)
    t.regex(problems.find(({ from }) => from.endsWith(`${name}.desktop`))?.text ?? '', why);
  await mustDo(daemon, (methods) =>
    methods['app.set']({ app: 'sketch', set: { cpu: 'background' } }, gamesRequest),
  );
  t.deepEqual(await by(program), ['executable', 'sketch', 'background']);
});

rooted('programs that run others are no identity, also behind a link', async (t) => {
  const { root, write } = smallMachine(t);
  write('machine/usr/bin/python3', '#!/bin/true\n', { mode: 0o755 });
  symlinkSync('python3', join(root, 'machine/usr/bin/notes'));
  write('machine/usr/share/applications/notes.desktop', entry('Notes', 'notes'));
  write('machine/usr/share/applications/env.desktop', entry('Env', 'env A=1 python3 x'));
  const daemon = await daemonOn(t, root);
  const { applications } = await methodsOf(daemon)['app.list']({}, rootRequest);
  t.deepEqual(
    applications.map(({ id, executables }) => [id, executables]),
    [
      ['env', []],
      ['notes', []],
    ],
  );
});

rooted(
  'what is stated by command lasts, is for one user or for all, and can be taken back',
  async (t) => {
    const { root } = paintMachine(t);
    const first = await startSilent(root);
    try {
      await mustDo(first, (methods) =>
        methods['app.set']({ app: paint, set: { memory: 5, lossOk: true } }, gamesRequest),
      );
      await mustDo(first, (methods) =>
        methods['app.set']({ app: paint, everybody: true, set: { memory: 7 } }, rootRequest),
      );
      t.deepEqual((await factsOf(first, paint, gamesRequest))('memory'), [
        [7, 'admin'],
        [5, 'user'],
      ]);
    } finally {
      await first.stop();
    }
    const daemon = await daemonOn(t, root);
    t.deepEqual((await factsOf(daemon, paint))('memory'), [[7, 'admin']]);
    await mustDo(daemon, (methods) =>
      methods['app.set']({ app: paint, everybody: true, unset: ['memory'] }, rootRequest),
    );
    const mine = await factsOf(daemon, paint, gamesRequest);
    t.deepEqual(mine('memory'), [[5, 'user']]);
    t.deepEqual(mine('lossOk'), [[true, 'user']]);
    t.deepEqual((await factsOf(daemon, paint))('memory'), []);
  },
);

rooted('a program that is stated is known by its file', async (t) => {
  const { root, write } = smallMachine(t);
  write('machine/home/tool', '#!/bin/true\n', { mode: 0o755 });
  const daemon = await daemonOn(t, root);
  const set = { executables: ['/home/tool'], profile: 'secure' as const };
  await mustDo(daemon, (methods) => methods['app.set']({ app: 'tool', set }, gamesRequest));
  const executable = file(root, 'home/tool');
  const { 'app.explain': ask } = methodsOf(daemon);
  t.like((await ask({ executable }, gamesRequest)).explanation, {
    id: 'tool',
    profile: 'secure',
    recognised: { by: 'executable' },
  });
  t.is((await ask({ executable }, rootRequest)).explanation.recognised.by, 'nothing');
  await t.throwsAsync(async () => await ask({ app: 'tool' }, rootRequest), {
    code: 'app-not-found',
  });
});

rooted('what cannot be stated is refused, and statements of one user end somewhere', async (t) => {
  const { root } = smallMachine(t);
  const daemon = await daemonOn(t, root);
  const bad = [
    { data: ['/etc'] },
    { data: ['~/../root'] },
    { data: ['~'] },
    { name: 'a\u202eb' },
    { executables: ['paint'] },
  ];
  for (const set of bad)
    await t.throwsAsync(
      async () => await methodsOf(daemon)['app.set']({ app: 'x', set }, gamesRequest),
      { code: 'bad-value' },
      JSON.stringify(set),
    );
  await t.throwsAsync(async () => await methodsOf(daemon)['app.set']({ app: 'x' }, gamesRequest), {
    code: 'bad-value',
  });
  const long = Array.from({ length: 64 }, (_, at) => `~/${`${at}`.padStart(500, 'x')}`);
  for (let at = 0; at < 8; at += 1)
    await mustDo(daemon, (methods) =>
      methods['app.set']({ app: `a${at}`, set: { data: long } }, gamesRequest),
    );
  const more = { app: 'b', set: { data: long } };
  await t.throwsAsync(async () => await methodsOf(daemon)['app.set'](more, gamesRequest), {
    code: 'limit-exceeded',
  });
  await mustDo(daemon, (methods) => methods['app.set'](more, rootRequest));
  const again = { app: 'a1', set: { data: long } };
  t.is((await ask(daemon, (methods) => methods['app.set'](again, gamesRequest))).status, 'done');
});

rooted('a launch is of the application whose file it is, whatever it is called', async (t) => {
  const { root, write } = paintMachine(t);
  write('machine/home/paint', '#!/bin/true\n', { mode: 0o755 });
  const daemon = await daemonOn(t, root);
  const plan = methodsOf(daemon)['launch.plan'];
  const dry = { ...gamesRequest, dryRun: true };
  const planned = async (app: string, path?: string) =>
    await plan({ app, ...(path && { executable: file(root, path) }), dryRun: true }, dry);
  const [own, other] = ['usr/bin/paint', 'home/paint'];
  // What lies in files is read beside the first launch; here it is waited for.
  await methodsOf(daemon)['app.list']({}, gamesRequest);
  t.like(await planned('anything', own), {
    app: 'anything',
    profile: 'standard',
    rule: 'suggested',
  });
  t.like(await planned(paint, own), { profile: 'standard', rule: 'suggested' });
  t.like(await planned(paint, other), { profile: 'standard', rule: 'name-only' });
  t.like(await planned(paint), { profile: 'standard', rule: 'name-only' });
  t.like(await planned('anything', other), { profile: 'standard', rule: 'name-only' });
  t.like(await planned('anything'), { profile: 'standard', rule: 'unknown' });
  const set = { security: 'required' as const };
  await mustDo(daemon, (methods) =>
    methods['app.set']({ app: paint, everybody: true, set }, rootRequest),
  );
  for (const [app, path] of [
    ['anything', own],
    [paint, own],
    [paint, other],
    [paint, undefined],
    [paint, 'usr/bin/../bin/paint'],
  ] as const)
    await t.throwsAsync(
      () => planned(app, path),
      { code: 'profile-unavailable' },
      `${app} ${path}`,
    );
  t.like(await planned('anything', other), { profile: 'standard', rule: 'name-only' });
});

rooted('what is required is not to be had by another application of the same file', async (t) => {
  const { root, write } = paintMachine(t);
  write('machine/usr/share/applications/a.desktop', entry('First', 'paint'));
  const daemon = await daemonOn(t, root);
  const state = (app: string, set: object, request: Request) =>
    mustDo(daemon, (methods) =>
      methods['app.set']({ app, everybody: request === rootRequest, set }, request),
    );
  const methods = methodsOf(daemon);
  await state('mine', { executables: ['/usr/bin/paint'] }, gamesRequest);
  await methods['app.list']({}, gamesRequest);
  const executable = file(root, 'usr/bin/paint');
  const planned = async (app: string) =>
    await methods['launch.plan']({ app, executable, dryRun: true }, gamesRequest);
  for (const app of ['mine', 'a']) t.is((await planned(app)).profile, 'standard');
  await state(paint, { security: 'required' }, rootRequest);
  for (const app of ['mine', 'a', paint, 'anything'])
    await t.throwsAsync(() => planned(app), { code: 'profile-unavailable', message: /paint/ }, app);
  t.like(await explain(daemon, 'mine', gamesRequest), { id: paint, rule: 'required' });
  const { applications } = await methods['app.list']({}, gamesRequest);
  const rules = applications.map(({ id, rule }) => [id, rule]);
  t.deepEqual(
    rules.filter(([, rule]) => rule === 'required').map(([id]) => id),
    ['a', 'mine', paint],
  );
});

rooted(
  'a program of a package that was stated is known by its file before any list is read; one that runs others never is',
  async (t) => {
    const { root, write } = smallMachine(t);
    for (const name of ['tool', 'python3', 'other'])
      write(`machine/usr/bin/${name}`, '#!/bin/true\n', { mode: 0o755 });
    const first = await startSilent(root);
    for (const app of ['tool', 'python3']) {
      const set = { executables: [`/usr/bin/${app}`], cpu: 'background' as const };
      await mustDo(first, (methods) => methods['app.set']({ app, set }, gamesRequest));
    }
    await first.stop();
    const plan = async (app: string, executable: ReturnType<typeof file>) => {
      // Each is the first launch of a daemon: nothing was read before.
      const daemon = await startSilent(root);
      const request = { ...gamesRequest, dryRun: true };
      const { rule } = await methodsOf(daemon)['launch.plan'](
        { app, executable, dryRun: true },
        request,
      );
      await daemon.stop();
      return rule;
    };
    t.is(await plan('tool', file(root, 'usr/bin/tool')), 'nothing-said');
    t.is(
      await plan('tool', { ...file(root, 'usr/bin/other'), path: '/usr/bin/tool' }),
      'name-only',
    );
    t.is(await plan('python3', file(root, 'usr/bin/python3')), 'name-only');
  },
);

rooted(
  'what was stated counts from the first launch on, also for files that were named',
  async (t) => {
    const { root, write } = smallMachine(t);
    write('machine/home/tool', '#!/bin/true\n', { mode: 0o755 });
    const first = await startSilent(root);
    const set = { executables: ['/home/tool'], profile: 'secure' as const };
    await mustDo(first, (methods) => methods['app.set']({ app: 'tool', set }, gamesRequest));
    await first.stop();
    const daemon = await daemonOn(t, root);
    const plan = async (app: string) =>
      await methodsOf(daemon)['launch.plan'](
        { app, executable: file(root, 'home/tool'), dryRun: true },
        { ...gamesRequest, dryRun: true },
      );
    await t.throwsAsync(() => plan('tool'), { code: 'profile-unavailable' });
    daemon.rooms.phase('ready');
    await methodsOf(daemon)['app.list']({}, gamesRequest);
    await t.throwsAsync(() => plan('anything'), { code: 'profile-unavailable' });
  },
);

rooted("hostile files in a user's folder are left out, and told", async (t) => {
  const { root, write } = paintMachine(t);
  const at = (name: string) => join(root, gamesFolder, name);
  const own = { owner: games.uid };
  const fast = `["${paint}"]\nprofile = "fast"\n`;
  write(`${gamesFolder}/good.toml`, '[mine]\ncpu = "background"\n', own);
  write(`${gamesFolder}/open.toml`, fast, { ...own, mode: 0o666 });
  write(`${gamesFolder}/other.toml`, fast, { owner: 7 });
  write(`${gamesFolder}/large.toml`, `#${' '.repeat(65 * 1024)}\n${fast}`, own);
  write(`${gamesFolder}/binary.toml`, '', own);
  writeFileSync(at('binary.toml'), Buffer.from([0xff, 0xfe, 0]));
  write(`${gamesFolder}/deep.toml`, `[x]\ndata = ${'['.repeat(20_000)}\n`, own);
  write(`${gamesFolder}/broken.toml`, '[x]\nprofile = \n', own);
  write(`${gamesFolder}/proto.toml`, '[__proto__]\nprofile = "fast"\n[x]\n__proto__ = 1\n', own);
  symlinkSync(join(root, 'etc/secret.toml'), at('link.toml'));
  run('mkfifo', at('pipe.toml'));
  for (const name of ['', 'open.toml', 'good.toml', 'pipe.toml']) {
    const { uid } = statSync(at(name));
    if (uid !== games.uid) run('chown', `${games.uid}`, at(name));
  }
  const daemon = await daemonOn(t, root);
  const { problems } = await methodsOf(daemon)['app.import']({}, gamesRequest);
  const told = new Set(
    problems
      .map(({ from }) => from)
      .filter((from) => from.includes('apps.d/'))
      .map((from) => from.slice(from.lastIndexOf('/') + 1).replace(/:\d+$/, '')),
  );
  const names = ['open', 'other', 'large', 'binary', 'deep', 'broken', 'proto', 'link', 'pipe'];
  t.deepEqual([...told].sort(), names.map((name) => `${name}.toml`).sort());
  const mine = await factsOf(daemon, 'mine', gamesRequest);
  t.deepEqual(mine('cpu'), [['background', 'user']]);
  t.false(
    (await factsOf(daemon, paint, gamesRequest))('profile').some(([, who]) => who === 'user'),
  );
});

rooted('a folder behind a link, and one that others can write, are not read', async (t) => {
  const { root, write } = smallMachine(t);
  write(`${gamesFolder}/good.toml`, '[mine]\ncpu = "background"\n', { owner: games.uid });
  const daemon = await daemonOn(t, root);
  const folder = join(root, gamesFolder);
  chmodSync(folder, 0o777);
  const { problems } = await methodsOf(daemon)['app.import']({}, gamesRequest);
  t.regex(problems[0]?.text ?? '', /others than its owner can write it/);
  chmodSync(folder, 0o755);
  const there = join(root, 'machine/elsewhere');
  renameSync(folder, there);
  symlinkSync(there, folder);
  const second = await methodsOf(daemon)['app.import']({}, gamesRequest);
  t.regex(second.problems[0]?.text ?? '', /link/);
  rmSync(folder);
  renameSync(there, folder);
  await methodsOf(daemon)['app.import']({}, gamesRequest);
  t.deepEqual((await factsOf(daemon, 'mine', gamesRequest))('cpu'), [['background', 'user']]);
});

when(test, { root: true, tools: ['prlimit', 'mount'], other: hasFuse })(
  'a home that hangs holds up nobody else, and its user only until the deadline',
  async (t) => {
    const { root, write } = paintMachine(t);
    write('machine/usr/games/.config/x', '', { owner: games.uid });
    const hung = mountHung(join(root, 'machine/usr/games/.config'));
    const daemon = await startSilent(root);
    t.teardown(async () => {
      hung.release();
      await daemon.stop();
    });
    let waits = true;
    const mine = factsOf(daemon, paint, gamesRequest).finally(() => {
      waits = false;
    });
    t.deepEqual((await factsOf(daemon, paint))('name'), [['Paint', 'imported']]);
    t.true(waits);
    t.deepEqual((await mine)('name'), [['Paint', 'imported']]);
    const { 'launch.plan': plan } = methodsOf(daemon);
    const request = { ...gamesRequest, dryRun: true };
    t.like(await plan({ app: paint, dryRun: true }, request), { profile: 'standard' });
  },
);
