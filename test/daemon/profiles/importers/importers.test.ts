import test from 'ava';
import fc from 'fast-check';
import { parseApplicationFile } from '../../../../daemon/profiles/application-file.ts';
import type { Found } from '../../../../daemon/profiles/fragment.ts';
import {
  parseAnanicyRules,
  parseAnanicyTypes,
} from '../../../../daemon/profiles/importers/ananicy.ts';
import { parseBrowser } from '../../../../daemon/profiles/importers/browser-list.ts';
import { parseDesktopEntry } from '../../../../daemon/profiles/importers/desktop.ts';
import { addOwned, parseDpkgStatus } from '../../../../daemon/profiles/importers/dpkg.ts';
import { parseFirejail } from '../../../../daemon/profiles/importers/firejail.ts';
import { parseTunedProfile } from '../../../../daemon/profiles/importers/tuned.ts';

const source = (text: string, file = '/x') => ({ file, text, dateMs: 1 });
const values = ({ fragments }: Found) => fragments.map((one) => [one.of, one.values]);
const places = ({ problems }: Pick<Found, 'problems'>) => problems.map(({ from }) => from);
const lines = (...all: string[]) => all.join('\n');

test('desktop entries: names, kinds and the program; nothing of hidden or other ones', (t) => {
  const text = lines(
    '# made by hand',
    '[Desktop Entry]',
    'Type = Application',
    'Name=Paint',
    'Name[de]=Malen',
    'Exec=paint --new %U',
    'Categories=Graphics;2DGraphics;',
    '[Desktop Action new]',
    'Exec=other',
  );
  const found = parseDesktopEntry(source(text), 'paint');
  t.deepEqual(values(found), [
    [{ id: 'paint' }, { name: 'Paint', categories: ['Graphics', '2DGraphics'] }],
  ]);
  t.is(found.program, 'paint');
  const type = '[Desktop Entry]\nType=';
  t.deepEqual(parseDesktopEntry(source(`${type}Link\n`), 'x').fragments, []);
  t.deepEqual(parseDesktopEntry(source(`${type}Application\nHidden=true\n`), 'x').fragments, []);
  t.deepEqual(places(parseDesktopEntry(source('[Other]\nType=Application\n'), 'x')), ['/x']);
  t.deepEqual(places(parseDesktopEntry(source(`${type}Application\nName=a\x1bb\n`), 'x')), [
    '/x:3',
  ]);
  t.deepEqual(places(parseDesktopEntry(source(`${type}Application\nExec="x\n`), 'x')), ['/x:3']);
  t.deepEqual(places(parseDesktopEntry(source(`${type}Application\n`), '../x')), ['/x']);
});

test('ananicy: rules by name; what is malformed or of a type that nobody declares is told', (t) => {
  const types = parseAnanicyTypes(
    source(
      lines(
        '{ "type": "Game", "nice": -5 }',
        '{ "type": "BG_CPUIO", "nice": 16, "ioclass": "idle" }',
        '{ "type": "Doc-View", "nice": 0 }',
        '{ "nice": 3 }',
      ),
      '/t',
    ),
  );
  t.deepEqual(places(types), ['/t:4']);
  const found = parseAnanicyRules(
    source(
      lines(
        '# https://example.org Quake',
        '{"name": "quake", "type": "Game"}',
        '{"name": "backup", "type": "BG_CPUIO", "nice": 19}',
        '{"name": "reader", "type": "Doc-View"}',
        '{"name": "own", "nice": -3}',
        '{"name": "quake2", "type": "Game"} +',
        '{"name": "later", "type": "TODO"}',
        '{"type": "Game"}',
        '["name"]',
        '',
      ),
    ),
    types.types,
  );
  t.deepEqual(values(found), [
    [{ name: 'quake' }, { cpu: 'high', profile: 'fast' }],
    [{ name: 'backup' }, { cpu: 'background' }],
    [{ name: 'reader' }, {}],
    [{ name: 'own' }, { cpu: 'high' }],
  ]);
  t.is(found.fragments[1]?.from, '/x:3');
  t.deepEqual(places(found).sort(), ['/x:6', '/x:7', '/x:8', '/x:9']);
});

test('firejail: what one profile leads to counts for it; circles and unknown words are told', (t) => {
  const profile = (name: string, ...all: string[]) => source(lines(...all), `/f/${name}.profile`);
  const found = parseFirejail([
    profile('alias', 'include paint.profile', 'include globals.local'),
    profile(
      'paint',
      `noblacklist \${HOME}/.paint # its data`,
      `whitelist \${DOWNLOADS}`,
      `whitelist \${HOME}/.cache/paint/`,
      `noblacklist \${HOME}/.ssh`,
      `noblacklist \${HOME}/.mozilla`,
      `whitelist \${HOME}/.config/paint*`,
      `?HAS_APPIMAGE: mkdir \${HOME}/.local/share/paint`,
      'caps.drop all',
      'nonewprivs',
      'noroot',
      'seccomp !chroot',
      'private-bin paint,dirname',
      'dbus-user.talk org.x',
    ),
    profile('round', 'include round.profile', 'frobnicate 1', 'include gone.profile'),
    profile('soft', 'caps.drop all'),
  ]);
  const paint = {
    security: 'sensitive',
    data: ['~/.paint', '~/.local/share/paint'],
    cache: ['~/.cache/paint'],
    dependencies: ['paint', 'dirname'],
  };
  t.deepEqual(values(found), [
    [{ name: 'alias' }, paint],
    [{ name: 'paint' }, paint],
  ]);
  t.deepEqual(places(found), ['/f/round.profile:2', '/f/round.profile:1', '/f/round.profile:3']);
});

test('profile-sync-daemon: folders that stand there as text, and nothing is run', (t) => {
  const chrome = parseBrowser(
    source('DIRArr[0]="$XDG_CONFIG_HOME/$browser"\nPSNAME="chrome"\n'),
    'google-chrome',
  );
  t.deepEqual(values(chrome), [
    [{ name: 'google-chrome' }, { profile: 'fast', data: ['~/.config/google-chrome'] }],
    [{ name: 'chrome' }, { profile: 'fast', data: ['~/.config/google-chrome'] }],
  ]);
  const fox = parseBrowser(
    source(`basePath="$HOME/.mozilla/firefox"\n  DIRArr+=("\${path}")\n DIRArr=()\n`),
    'firefox',
  );
  t.deepEqual(values(fox), [
    [{ name: 'firefox' }, { profile: 'fast', data: ['~/.mozilla/firefox'] }],
  ]);
  for (const text of ['DIRArr[0]="$(id)"', 'DIRArr[0]="/etc"', 'DIRArr[0]="$HOME/../x"', 'x'])
    t.is(parseBrowser(source(text), 'x').fragments.length, 0, text);
});

test('tuned: what a profile would set, without its scripts', (t) => {
  const { preset, problems } = parseTunedProfile(
    source(
      lines(
        '[main]',
        'summary = Quick',
        'include=base, other',
        '[vm]',
        'x=1',
        '  more',
        'odd',
        '[script]',
        'script=a',
      ),
    ),
    'quick',
  );
  t.deepEqual(preset, {
    name: 'quick',
    summary: 'Quick',
    include: ['base', 'other'],
    sets: ['vm'],
    from: '/x',
  });
  t.deepEqual(places({ problems }), ['/x:7', '/x:8']);
});

test('dpkg: needs and size of the packages that own programs', (t) => {
  const status = lines(
    'Package: a',
    'Installed-Size: 10',
    'Depends: libc6:any (>= 2), bb | c,dd',
    '',
    'Package: z',
    '',
    'Package: bad',
    'Installed-Size: much',
    '',
  );
  const { packages, problems } = parseDpkgStatus(source(status), new Set(['a', 'bad']));
  t.deepEqual(
    [...packages.entries()],
    [
      [
        'a',
        {
          from: '/x:1',
          dateMs: 1,
          values: { dependencies: ['libc6', 'bb', 'dd'], storage: 10_240 },
        },
      ],
    ],
  );
  t.deepEqual(places({ problems }), ['/x:7']);
  const owners = new Map<string, string>();
  const list = { file: '/info/a:amd64.list', text: '/.\n/bin/x\n/usr/bin/y\n/usr/bin/z\n' };
  addOwned(list, new Set(['/usr/bin/x', '/usr/bin/y']), owners);
  t.deepEqual(
    [...owners],
    [
      ['/usr/bin/x', 'a'],
      ['/usr/bin/y', 'a'],
    ],
  );
});

test('apps.d: what is wrong is told with its line, the rest counts', (t) => {
  const text = lines(
    '["org.paint.Paint"]',
    'memory = "2G"',
    'loss_ok = true',
    'data = ["~/.paint"]',
    'profile = "fastest"',
    'frobnicate = 1',
    'cache = ["/etc", "~/.cache/x"]',
    '["../x"]',
    'cpu = "high"',
    '[y]',
    'executables = ["/usr/bin/y", "/usr/../y"]',
    'cpu = "high"',
  );
  const found = parseApplicationFile(source(text), { source: 'user', confidence: 1 });
  t.deepEqual(values(found), [
    [{ id: 'org.paint.Paint' }, { memory: 2 * 1024 ** 3, lossOk: true, data: ['~/.paint'] }],
    [{ id: 'y' }, { cpu: 'high' }],
  ]);
  t.deepEqual(places(found), ['/x:5', '/x:6', '/x:7', '/x:9', '/x:11']);
  const broken = parseApplicationFile(source('[x]\ny = \n'), { source: 'user', confidence: 1 });
  t.deepEqual(places(broken), ['/x:2']);
});

test('no text makes any of them fail, or say more than facts', (t) => {
  const types = new Map();
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 400 }),
    fc
      .array(
        fc.constantFrom(
          '[Desktop Entry]',
          'Type=Application',
          'Exec="',
          'Name=\u202e',
          '{"name":"x"}',
          'include x.profile',
          'DIRArr[0]="$HOME/x"',
          'Package: x',
          'Installed-Size: -1',
          '[main]',
          '["x"]',
          'data = ["~/x"]',
          '[[[[',
        ),
      )
      .map((all) => all.join('\n')),
  );
  fc.assert(
    fc.property(text, (one) => {
      const found = [
        parseDesktopEntry(source(one), 'x'),
        parseAnanicyRules(source(one), types),
        parseFirejail([source(one, '/f/x.profile')]),
        parseBrowser(source(one), 'x'),
        parseApplicationFile(source(one), { source: 'user', confidence: 1 }),
      ];
      parseTunedProfile(source(one), 'x');
      parseDpkgStatus(source(one), new Set(['x']));
      for (const { fragments } of found)
        for (const { values: facts } of fragments)
          for (const path of [...(facts.data ?? []), ...(facts.cache ?? [])])
            t.regex(path, /^~\/[^/]/);
    }),
    { numRuns: 300 },
  );
});
