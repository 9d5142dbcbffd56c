import test from 'ava';
import fc from 'fast-check';
import {
  type Application,
  byPrecedence,
  cpuNeeds,
  type FactName,
  type Facts,
  type FactValues,
  type Known,
  profiles,
  type Source,
  securityLevels,
  sources,
} from '../../../daemon/profiles/application.ts';
import type { Recognised } from '../../../daemon/profiles/identity.ts';
import { choose, type Question } from '../../../daemon/profiles/selection.ts';

const itself: Recognised = { by: 'executable', path: '/usr/bin/paint', device: '1', inode: '2' };
const called: Recognised = { by: 'name', name: 'paint' };

const known = <T>(value: T, source: Source = 'user', confidence = 1): Known<T> => ({
  value,
  source,
  from: `the ${source}`,
  confidence,
  dateMs: 0,
});

type Said = { [K in FactName]?: Known<FactValues[K]> | Known<FactValues[K]>[] };

function application(said: Said): Application {
  const facts = Object.entries(said).map(([name, one]) => [
    name,
    (Array.isArray(one) ? one : [one]).toSorted(byPrecedence),
  ]);
  return { id: 'paint', facts: Object.fromEntries(facts) as Facts };
}

const ask = (said: Said, rest: Partial<Question> = {}) =>
  choose({ application: application(said), recognised: itself, obstacles: {}, ...rest });

test('nothing said is standard', (t) => {
  const { profile, rule, served, pinned, cpu } = ask({});
  t.deepEqual(
    { profile, rule, served, pinned, cpu },
    { profile: 'standard', rule: 'nothing-said', served: [], pinned: [], cpu: 'normal' },
  );
});

test('the word of an administrator or the user decides, the higher of the two first', (t) => {
  for (const profile of profiles) {
    for (const source of ['admin', 'user'] as const) {
      const choice = ask({ profile: known(profile, source) });
      t.is(choice.profile, profile);
      t.is(choice.rule, 'stated');
      t.is(choice.refused, undefined);
      t.regex(choice.why, new RegExp(`the ${source} says ${profile}`));
    }
  }
  const both = ask({ profile: [known('secure', 'user'), known('fast', 'admin')] });
  t.is(both.profile, 'fast');
  t.true(both.wouldChange.some((line) => line.includes('the admin')));
  t.deepEqual(both.suggestions, [{ profile: 'secure', why: 'the user proposes it' }]);
});

test('others decide only what does no harm', (t) => {
  t.like(ask({ profile: known('fast', 'imported', 0.8) }), { profile: 'fast', rule: 'suggested' });
  t.like(ask({ profile: known('standard', 'measured', 0.9) }), {
    profile: 'standard',
    rule: 'measured',
  });
  const unsure = ask({ profile: known('fast', 'category', 0.3) });
  t.like(unsure, { profile: 'standard', rule: 'nothing-said' });
  t.deepEqual(unsure.suggestions, [{ profile: 'fast', why: 'the category proposes it' }]);
  const confined = ask({ profile: known('secure', 'imported', 1) });
  t.is(confined.profile, 'standard');
  t.is(confined.suggestions[0]?.profile, 'secure');
  const required = ask({ security: known('required', 'imported', 1) });
  t.is(required.profile, 'standard');
  t.deepEqual(required.suggestions, [{ profile: 'secure', why: 'the imported calls it required' }]);
});

test('a name alone leads to standard, and to no folder, file or weight', (t) => {
  const said: Said = {
    profile: known('fast', 'admin'),
    cpu: known('high', 'admin'),
    lossOk: known(true, 'admin'),
    data: known(['~/.paint'], 'admin'),
    executables: known(['/usr/bin/paint'], 'imported'),
  };
  const choice = ask(said, { recognised: called });
  t.like(choice, { profile: 'standard', rule: 'name-only', cpu: 'normal' });
  t.deepEqual([choice.served, choice.pinned], [[], []]);
  t.true(choice.wouldChange.some((line) => line.includes('/usr/bin/paint')));
  t.like(ask(said), { profile: 'fast', cpu: 'high', pinned: ['/usr/bin/paint'] });
  t.like(ask({}, { recognised: { by: 'nothing' } }), { profile: 'standard', rule: 'unknown' });
});

test('a name alone never leads out of secure', (t) => {
  for (const said of [{ profile: known('secure') }, { security: known('required', 'admin') }]) {
    const choice = ask(said as Said, { recognised: called });
    t.is(choice.profile, 'secure');
    t.regex(choice.refused ?? '', /none of its executables/);
  }
});

test('secure fails closed, fast falls back', (t) => {
  const obstacles = { fast: 'no memory', secure: 'no bwrap' };
  t.is(ask({ profile: known('secure') }, { obstacles }).refused, 'no bwrap');
  t.is(ask({ security: known('required') }, { obstacles }).refused, 'no bwrap');
  t.is(ask({}, { obstacles, wish: 'secure' }).refused, 'no bwrap');
  const sensitive = ask({ security: known('sensitive') }, { obstacles });
  t.like(sensitive, { profile: 'standard', rule: 'sensitive', refused: undefined });
  t.like(ask({ security: known('sensitive') }), { profile: 'secure', rule: 'sensitive' });
  // Who says secure means it, and gets no less where it is called sensitive besides.
  const both = ask({ profile: known('secure'), security: known('sensitive') }, { obstacles });
  t.like(both, { profile: 'secure', rule: 'stated' });
  t.is(both.refused, obstacles.secure);
  const fast = ask({ profile: known('fast') }, { obstacles });
  t.is(fast.profile, 'standard');
  t.regex(fast.why, /no memory/);
  t.deepEqual(fast.pinned, []);
});

test('a name that is no id is put into no command', (t) => {
  const choice = choose({
    application: { id: '$(evil)', facts: {} },
    recognised: { by: 'nothing' },
    obstacles: {},
  });
  t.deepEqual(choice.wouldChange, [
    'an executable of it that is known: `personactl app set APP --executable PATH`',
  ]);
});

test('what is required is not given up for a wish; a wish outranks the rest', (t) => {
  t.regex(
    ask({ security: known('required') }, { wish: 'fast' }).refused ?? '',
    /asked to run fast/,
  );
  t.like(ask({ security: known('required') }, { wish: 'secure' }), {
    profile: 'secure',
    rule: 'required',
    refused: undefined,
  });
  t.like(ask({ profile: known('secure') }, { wish: 'secure' }), {
    profile: 'secure',
    rule: 'stated',
    why: 'the user says secure',
  });
  t.like(ask({ profile: known('secure', 'admin') }, { wish: 'standard' }), {
    profile: 'standard',
    rule: 'asked',
  });
});

test('between profile and sensitivity the higher source decides', (t) => {
  const admin = ask({ profile: known('fast', 'admin'), security: known('sensitive', 'user') });
  t.is(admin.profile, 'fast');
  const user = ask({ profile: known('fast', 'user'), security: known('sensitive', 'admin') });
  t.is(user.profile, 'secure');
  t.is(ask({ profile: known('fast'), security: known('sensitive') }).profile, 'secure');
});

test('data is served from memory only where the loss was accepted by who may', (t) => {
  const folders: Said = {
    profile: known('fast'),
    data: known(['~/.paint'], 'imported'),
    cache: known(['~/.cache/paint', '~/.ssh', '~/.cache/../.ssh'], 'imported'),
  };
  const paths = (said: Said) => ask(said).served.map(({ path }) => path);
  t.deepEqual(paths(folders), ['~/.cache/paint']);
  t.deepEqual(paths({ ...folders, lossOk: known(true, 'imported') }), ['~/.cache/paint']);
  t.deepEqual(paths({ ...folders, lossOk: known(true) }), ['~/.paint', '~/.cache/paint']);
  t.deepEqual(paths({ ...folders, cache: known(['~/Thumbnails']) }), ['~/Thumbnails']);
  t.deepEqual(paths({ ...folders, lossOk: [known(true), known(false, 'admin')] }), [
    '~/.cache/paint',
  ]);
  t.true(ask(folders).wouldChange.some((line) => line.includes('--loss-ok yes')));
});

test("a user's own metadata lowers his share of the processors, and never raises it", (t) => {
  t.is(ask({ cpu: known('high') }).cpu, 'normal');
  t.is(ask({ cpu: known('background') }).cpu, 'background');
  t.is(ask({ cpu: [known('background'), known('high', 'imported')] }).cpu, 'background');
  const executables = known(['/usr/bin/paint'], 'imported');
  t.is(ask({ executables, cpu: [known('high'), known('high', 'imported')] }).cpu, 'high');
  t.is(ask({ executables, cpu: known('high', 'admin') }).cpu, 'high');
});

test('who calls a program of his an application of others has none of its weight', (t) => {
  const cpu = known('high' as const, 'imported');
  t.is(ask({ cpu }).cpu, 'normal');
  t.is(ask({ cpu, executables: known(['/usr/bin/paint']) }).cpu, 'normal');
  t.is(ask({ cpu, executables: known(['/usr/bin/other'], 'imported') }).cpu, 'normal');
});

const anyKnown = <T>(value: fc.Arbitrary<T>) =>
  fc.array(
    fc.record({
      value,
      source: fc.constantFrom(...sources),
      from: fc.constant('x'),
      confidence: fc.double({ min: 0, max: 1, noNaN: true }),
      dateMs: fc.nat(),
    }),
    { minLength: 1, maxLength: 3 },
  );
const folders = fc.array(fc.constantFrom('~/.cache/a', '~/a', '~/.ssh'), { maxLength: 2 });

test('whatever is said, the rules hold', (t) => {
  const question = fc.record({
    said: fc.record(
      {
        profile: anyKnown(fc.constantFrom(...profiles)),
        security: anyKnown(fc.constantFrom(...securityLevels)),
        cpu: anyKnown(fc.constantFrom(...cpuNeeds)),
        lossOk: anyKnown(fc.boolean()),
        data: anyKnown(folders),
        cache: anyKnown(folders),
      },
      { requiredKeys: [] },
    ),
    recognised: fc.constantFrom<Recognised>(itself, called, { by: 'nothing' }),
    wish: fc.option(fc.constantFrom(...profiles), { nil: undefined }),
    obstacles: fc.record(
      { fast: fc.constant('f'), secure: fc.constant('s') },
      { requiredKeys: [] },
    ),
  });
  fc.assert(
    fc.property(question, ({ said, recognised, wish, obstacles }) => {
      const whole = { recognised, obstacles, ...(wish === undefined ? {} : { wish }) };
      const { facts } = application(said as Said);
      const choice = ask(said as Said, whole);
      t.deepEqual(ask(said as Said, whole), choice);
      const decides = (one: Known<unknown> | undefined) =>
        ['admin', 'user'].includes(`${one?.source}`);
      const loses = choice.served.some(({ holds }) => holds === 'data');
      if (loses) t.true(decides(facts.lossOk?.[0]) && facts.lossOk?.[0]?.value);
      if (recognised.by !== 'executable') {
        t.deepEqual([choice.served, choice.pinned], [[], []]);
        t.not(choice.cpu, 'high');
        if (wish === undefined && choice.refused === undefined) t.is(choice.profile, 'standard');
      }
      if (obstacles.secure && choice.profile === 'secure') t.truthy(choice.refused);
      if (obstacles.fast) t.not(choice.profile, 'fast');
      if (wish === 'secure') t.is(choice.profile, 'secure');
      if (choice.profile === 'secure' && wish !== 'secure')
        t.true(decides(facts.profile?.[0]) || decides(facts.security?.[0]));
      const required = facts.security?.[0];
      if (decides(required) && required?.value === 'required') t.is(choice.profile, 'secure');
    }),
    { numRuns: 500 },
  );
});
