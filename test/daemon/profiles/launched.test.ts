import test from 'ava';
import type { FactValues, Source } from '../../../daemon/profiles/application.ts';
import { Catalogue } from '../../../daemon/profiles/catalogue.ts';
import type { Program } from '../../../daemon/profiles/identity.ts';
import { launched, startedAs } from '../../../daemon/profiles/launched.ts';
import { Layer } from '../../../daemon/profiles/layer.ts';

// Which application a launch is, where several are started by one file.

const wallet: Program = { path: '/usr/bin/wallet', device: '1', inode: '2' };
const bank = 'org.bank.Wallet';
const apart = { security: 'required' } as const;
const nowhere = () => undefined;

type Said = [id: string, source: Source, values: Partial<FactValues>];

const layerOf = (all: readonly Said[], programs: readonly Program[] = [wallet]): Layer =>
  new Layer(
    all.map(([id, source, values]) => ({
      ...{ of: { id }, source, from: `the ${source}`, confidence: 1, dateMs: 0, values },
    })),
    programs.map((program) => ({ ...program, real: program.path })),
  );

/** What somebody says who has said nothing of the file yet. */
const its = (id: string, source: Source = 'imported'): Said => [
  id,
  source,
  { executables: [wallet.path] },
];

/** The application that the running program is, and the one that it is when somebody calls it so. */
function seen(said: readonly Said[], app?: string) {
  const catalogue = new Catalogue([layerOf(said)]);
  const id = ({ application }: { application: { id: string } }) => application.id;
  const claim = { app, executable: wallet };
  return [id(catalogue.find(wallet, nowhere)), id(launched(catalogue, nowhere, claim))];
}

test('what is kept apart has its file, whatever else is started by it', (t) => {
  // A user calls it something else, once with a name that is that of the file.
  for (const mine of ['mine', 'wallet']) {
    const said: Said[] = [its(bank), [bank, 'admin', apart], its(mine, 'user')];
    t.deepEqual(seen(said, mine), [bank, bank]);
    t.deepEqual(seen(said, 'anything'), [bank, bank]);
    const stated: Said[] = [its(bank), [bank, 'admin', { profile: 'secure' }], its(mine, 'user')];
    t.deepEqual(seen(stated, mine), [bank, bank]);
  }
  // Two entries of packages: the first one by its name is not the one that was meant.
  const both = [its('a.first'), its('z.last')];
  t.deepEqual(seen([...both, ['z.last', 'admin', apart]], 'a.first'), ['z.last', 'z.last']);
  t.deepEqual(seen([...both, ['z.last', 'user', apart]], 'a.first'), ['z.last', 'z.last']);
  // What others than the administrator and the user say keeps nothing apart.
  t.deepEqual(seen([...both, ['z.last', 'imported', apart]], 'a.first'), ['a.first', 'a.first']);
});

test('of several that are kept apart the strictest has the file, and the caller chooses among equals', (t) => {
  const both = [its('a'), its('b')];
  const say = (a: Said[2], b: Said[2], source: Source = 'user'): Said[] => [
    ...both,
    ['a', source, a],
    ['b', 'admin', b],
  ];
  t.deepEqual(seen(say(apart, apart), 'a'), ['b', 'b']);
  t.deepEqual(seen(say({ profile: 'secure' }, { profile: 'secure' }), 'a'), ['b', 'b']);
  // A wish undoes what is stated, and nothing what is required.
  t.deepEqual(seen(say(apart, { profile: 'secure' }), 'b'), ['a', 'a']);
  t.deepEqual(seen(say(apart, apart, 'admin'), 'b'), ['a', 'b']);
  t.deepEqual(seen(both, 'b'), ['a', 'b']);
});

test('a user takes no executable from what an administrator keeps apart', (t) => {
  const elsewhere = { executables: ['/home/user/wallet'] };
  const said: Said[] = [its(bank), [bank, 'user', elsewhere]];
  t.not(seen(said)[0], bank);
  t.deepEqual(seen([...said, [bank, 'admin', apart]], 'mine'), [bank, bank]);
  t.deepEqual(seen([...said, [bank, 'admin', { profile: 'secure' }], [bank, 'user', apart]]), [
    bank,
    bank,
  ]);
  t.not(seen([...said, [bank, 'user', apart]])[0], bank, 'his own word he may take back');
  const moved: Said = [bank, 'admin', { ...apart, ...elsewhere }];
  t.not(seen([...said, moved])[0], bank, 'so may the administrator');
});

test('a file that was replaced is still that of all who are started by its path', (t) => {
  const before = layerOf([its(bank), [bank, 'admin', apart]]);
  const now = { ...wallet, inode: '3' };
  const link = { ...now, path: '/opt/wallet' };
  const mine = layerOf([['mine', 'user', { executables: [link.path] }]], [link]);
  const catalogue = new Catalogue([mine, before]);
  t.is(catalogue.find(now, () => now).application.id, bank);
});

test('what an application is started as is told of it as well', (t) => {
  const said: Said[] = [its(bank), [bank, 'admin', apart], its('mine', 'user')];
  const catalogue = new Catalogue([layerOf(said)]);
  const asked = (id: string) => startedAs(catalogue, nowhere, catalogue.application(id));
  t.like(asked('mine'), { application: { id: bank }, recognised: { by: 'executable' } });
  t.is(asked(bank).application.id, bank);
  t.like(asked('unknown'), { application: { id: 'unknown' }, recognised: { by: 'name' } });
});
