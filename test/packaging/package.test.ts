import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { commands } from '../../ctl/commands.ts';
import { pageName } from '../../ctl/manual.ts';
import { readSettings } from '../../daemon/config/settings.ts';
import { finish } from '../support/cache.ts';
import { hasTool, run, when } from '../support/needs.ts';
import { builtPackage, packageEpoch } from '../support/package.ts';
import { temporaryFolder } from '../support/temp.ts';

const project = join(import.meta.dirname, '../..');
const needs = { root: true, tools: ['dpkg-deb'] };

const digest = (file: string): string =>
  createHash('sha256').update(readFileSync(file)).digest('hex');

/** Every line that tells of something in a package: its control files, with a sum of each file, and its files with sizes. */
function linesOf(deb: string, folder: string): string[] {
  const place = mkdtempSync(join(folder, 'control-'));
  run('dpkg-deb', '--control', deb, place);
  const control = readdirSync(place).map((name) => readFileSync(join(place, name), 'utf8'));
  return [...control, run('dpkg-deb', '--contents', deb)].flatMap((text) => text.split('\n'));
}

when(test, needs)('the same tree gives the same bytes', async (t) => {
  const first = await builtPackage();
  const folder = temporaryFolder(t);
  // Called from another folder; another one for temporary files, another time zone, language, wish for colours, file mode mask.
  const script = 'umask 077; exec "$@"';
  const env = [
    'env',
    `--chdir=${project}`,
    `TMPDIR=${folder}`,
    'TZ=Asia/Kathmandu',
    'LC_ALL=C',
    'FORCE_COLOR=1',
    `SOURCE_DATE_EPOCH=${packageEpoch}`,
  ];
  const build = [process.execPath, '--no-warnings', join(project, 'scripts/package.ts')];
  await finish('sh', ['-c', script, 'sh', ...env, ...build, '--out', join(folder, 'out')]);
  const [name = ''] = readdirSync(join(folder, 'out'));
  const second = join(folder, 'out', name);
  // First what tells which file it is, when one differs.
  const [one, other] = [linesOf(first, folder), linesOf(second, folder)];
  t.deepEqual(
    [one.filter((line) => !other.includes(line)), other.filter((line) => !one.includes(line))],
    [[], []],
  );
  t.is(digest(second), digest(first));
});

when(test, needs)('no program tells where it was built', async (t) => {
  const folder = temporaryFolder(t);
  run('dpkg-deb', '--extract', await builtPackage(), folder);
  const dist = join(folder, 'usr/lib/personad/dist');
  const places = ['daemon/', 'node_modules/'].map((name) => join(project, name).slice(1));
  for (const name of readdirSync(dist)) {
    const text = readFileSync(join(dist, name), 'latin1');
    for (const place of places) t.false(text.includes(place), name);
  }
});

when(test, needs)('it holds what runs, and nothing else', async (t) => {
  const deb = await builtPackage();
  const listed = run('dpkg-deb', '--contents', deb).trim().split('\n');
  for (const line of listed)
    t.regex(line, /^(-rw-r--r--|-rwxr-xr-x|drwxr-xr-x|lrwxrwxrwx) root\/root /);
  const names = listed.map((line) => line.split(' ./')[1]?.replace(/ -> .*/, '') ?? '');
  const foreign =
    /\.(cc?|cpp|hh?|gyp|o|a|map|ts|md|tar\.gz|gypi)$|musl|arm|win32|\/(test|doc|obj|deps)\//;
  t.deepEqual(
    names.filter((name) => name.startsWith('usr/lib/personad/') && foreign.test(name)),
    [],
  );
  t.is(names.filter((name) => name.endsWith('.node')).length, 2, 'koffi and sqlite3');
  const units = readdirSync(join(project, 'systemd')).filter((name) =>
    /\.(service|socket|slice)$/.test(name),
  );
  const pages = commands()
    .filter(({ name }) => !name.startsWith('__'))
    .map(pageName);
  for (const path of [
    'usr/bin/personactl',
    'usr/bin/persona-run',
    'usr/lib/personad/dist/persona-confine',
    'usr/lib/personad/dist/lease-guard',
    'usr/lib/personad/dist/file-pins',
    'usr/share/man/man1/persona-run.1.gz',
    'usr/lib/sysusers.d/personad.conf',
    'usr/lib/tmpfiles.d/personad.conf',
    'usr/share/bash-completion/completions/personactl',
    'usr/share/zsh/vendor-completions/_personactl',
    'usr/share/fish/vendor_completions.d/personactl.fish',
    'usr/share/doc/personad/copyright',
    'usr/share/doc/personad/changelog.gz',
    ...units.map((name) => `usr/lib/systemd/system/${name}`),
    ...['personactl', ...pages].map((name) => `usr/share/man/man1/${name}.1.gz`),
  ])
    t.true(names.includes(path), path);
});

when(test, needs)('sums, size and licences are those of the files', async (t) => {
  const tree = join(temporaryFolder(t), 'tree');
  run('dpkg-deb', '--raw-extract', await builtPackage(), tree);
  const sums = readFileSync(join(tree, 'DEBIAN/md5sums'), 'utf8').trim().split('\n');
  const files = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.endsWith('DEBIAN'))
    .map((entry) => join(entry.parentPath, entry.name));
  t.is(sums.length, files.length);
  for (const line of sums) {
    const [sum = '', path = ''] = line.split('  ');
    const bytes = readFileSync(join(tree, path));
    t.is(createHash('md5').update(bytes).digest('hex'), sum, path);
  }
  const control = readFileSync(join(tree, 'DEBIAN/control'), 'utf8');
  const kib = Number(/^Installed-Size: (\d+)$/m.exec(control)?.[1]);
  const real = files.reduce((sum, file) => sum + statSync(file).size, 0) / 1024;
  t.true(kib >= real && kib < real * 1.02, `${kib} of ${real}`);
  const licences = readFileSync(join(tree, 'usr/share/doc/personad/copyright'), 'utf8');
  const titles = licences.match(/^\S+ \d+\.\d+\.\d+ \(.*\)$/gm) ?? [];
  const shipped = [
    'node-linux-',
    'koffi',
    'sqlite3',
    'diskusage',
    'bindings',
    'pino',
    'execa',
    'node-ipc',
    'valibot',
  ];
  for (const name of shipped)
    t.true(
      titles.some((title) => title.startsWith(name)),
      name,
    );
});

when(test, needs)('the scripts are whole', async (t) => {
  const tree = join(temporaryFolder(t), 'tree');
  run('dpkg-deb', '--raw-extract', await builtPackage(), tree);
  const scripts = ['preinst', 'postinst', 'prerm', 'postrm'].map((name) => `DEBIAN/${name}`);
  for (const path of [...scripts, 'usr/lib/personad/activate']) {
    const file = join(tree, path);
    run('sh', '-n', file);
    if (hasTool('shellcheck')) t.is(run('shellcheck', '--exclude=SC2086', file), '', path);
    t.notRegex(readFileSync(file, 'utf8'), /@[A-Z_]+@/, path);
  }
});

when(test, needs)('the example of settings is right, and says the defaults', async (t) => {
  const folder = temporaryFolder(t);
  const example = 'usr/share/doc/personad/examples/persona.toml';
  run('dpkg-deb', '--raw-extract', await builtPackage(), join(folder, 'tree'));
  const text = readFileSync(join(folder, 'tree', example), 'utf8');
  writeFileSync(join(folder, 'persona.toml'), text.replace(/^#(\w+ = )/gm, '$1'));
  const { values, origins } = readSettings(folder);
  t.deepEqual(values, readSettings(join(folder, 'nowhere')).values);
  t.false(Object.values(origins).includes('default'), 'every setting is in it');
});

when(test, { ...needs, tools: [...needs.tools, 'lintian'] })(
  'lintian has no complaint',
  async (t) => {
    // Its exit status counts errors only; warnings count as well here.
    const { stdout } = spawnSync('lintian', [await builtPackage()], { encoding: 'utf8' });
    t.is(stdout, '');
  },
);
