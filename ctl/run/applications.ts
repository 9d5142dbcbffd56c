import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Params } from '../../ipc/methods/index.ts';
import type { ApplicationPage, Explanation } from '../../ipc/methods/shapes.ts';
import { formatDuration, formatSize, parseSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { columns, facts, indented } from '../print/columns.ts';
import { joined, type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { moment } from '../print/time.ts';
import { usageError } from '../usage-error.ts';

type Fact = ApplicationPage['facts'][number];
/** A fact that somebody can say. */
type Statable = keyof NonNullable<Params<'app.set'>['set']>;
type Profile = Explanation['profile'];

/** The option of `app set` that says a fact. */
const optionOf: Record<Statable, string> = {
  name: 'name',
  categories: 'category',
  profile: 'profile',
  cpu: 'cpu',
  memory: 'memory',
  storage: 'storage',
  dependencies: 'needs',
  security: 'security',
  data: 'data',
  cache: 'cache',
  temporary: 'temporary',
  lossOk: 'loss-ok',
  grants: 'grant',
  show: 'show',
  share: 'share',
  enclave: 'enclave',
  executables: 'executable',
};
const factNames = Object.keys(optionOf) as Statable[];
/** What a fact is called: as its option, where it has one. */
const titleOf: Record<Fact['fact'], string> = {
  ...optionOf,
  typicalMemory: 'memory, on average',
  processors: 'processors',
  coldRead: 'read at a cold start',
  startTime: 'start',
  syncRate: 'waits for a write',
  diskWait: 'waits for the disk',
};

function valueText({ fact, value }: Fact): string {
  if (fact === 'processors') return `${value}`;
  if (fact === 'startTime') return formatDuration(Number(value));
  if (fact === 'syncRate') return `${value} times a second`;
  if (fact === 'diskWait') return `at most ${Number((Number(value) * 100).toPrecision(2))} %`;
  if (typeof value === 'number') return formatSize(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return Array.isArray(value) ? value.join(', ') : value;
}

function profileText(profile: Profile, refused: string | undefined, style: Style): Safe {
  if (refused !== undefined) return style.red(say`${profile}, refused`);
  return profile === 'standard' ? say`standard` : style.bold(profile);
}

/** `personactl app list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const match = call.given('TEXT');
  const answer = await client.call('app.list', match === undefined ? {} : { match });
  const { style } = call.out;
  call.out.result(answer, () => {
    if (answer.applications.length === 0) {
      call.out.note(say`No applications are known: \`personactl app set\` makes one known.`);
      return [];
    }
    if (answer.more > 0)
      call.out.note(say`There are ${answer.more} more: name a part of what you look for.`);
    const titles = ['APP', 'NAME', 'PROFILE', 'RULE', 'EXECUTABLE'].map((title) => ({ title }));
    const rows = answer.applications.map((one) => [
      style.bold(one.id),
      one.name ?? '',
      profileText(one.profile, one.refused, style),
      one.rule,
      one.executables.join(', '),
    ]);
    return columns(titles, rows, style);
  });
}

function factRow(fact: Fact, counts: boolean, style: Style): Safe[] {
  const { fact: name, source, from, confidence, dateMs } = fact;
  const cells = [
    counts ? titleOf[name] : '',
    valueText(fact),
    source,
    `${Math.round(confidence * 100)} %`,
    moment(dateMs),
    from,
  ];
  return cells.map((cell) => (counts ? say`${cell}` : style.dim(cell)));
}

function pageLines({ id, facts: known }: ApplicationPage, style: Style): Safe[] {
  const titles = [
    ...['FACT', 'VALUE', 'SOURCE'].map((title) => ({ title })),
    { title: 'SURE', side: 'right' as const },
    ...['SINCE', 'FROM'].map((title) => ({ title })),
  ];
  const rows = known.map((fact, at) => factRow(fact, known[at - 1]?.fact !== fact.fact, style));
  return [style.bold(id), ...indented(columns(titles, rows, style))];
}

/** `personactl app show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('app.show', { app: call.operand('APP') });
  call.out.result(answer, () => pageLines(answer.application, call.out.style));
}

/** What is asked about: an application, or the program of a path. */
function askedAbout(call: Call): Params<'app.explain'> {
  const app = call.operand('APP');
  const profile = call.text('profile') as Profile | undefined;
  const wish = profile === undefined ? {} : { profile };
  if (!app.includes('/')) return { app, ...wish };
  const path = resolve(call.io.cwd(), app);
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined || !found.isFile())
    throw usageError(`there is no program ${path}`, call.command.name);
  return { executable: { path, device: `${found.dev}`, inode: `${found.ino}` }, ...wish };
}

function recognisedText({ recognised, id }: Explanation): Safe {
  const { by, path = '', package: owner } = recognised;
  if (by === 'nothing') return say`no: nothing is known of this program`;
  if (by === 'name') return say`by its name only, ${id}`;
  return owner === undefined
    ? say`by its file ${path}`
    : say`by its file ${path}, of package ${owner}`;
}

function listOf(title: string, lines: readonly Safe[], style: Style): Safe[] {
  return lines.length === 0 ? [] : [style.bold(title), ...indented(lines)];
}

function keptText({ pinned, kept }: Explanation): string | undefined {
  if (kept !== undefined)
    return `executables and libraries: ${kept.files} files, ${formatSize(kept.bytes)}`;
  return pinned.length === 0 ? undefined : `${pinned.join(', ')} and its libraries, while it runs`;
}

function explanationLines(one: Explanation, style: Style): Safe[] {
  const { id, profile, refused, rule, why, evidence, suggestions, wouldChange } = one;
  const { cpu, memoryBytes, served, measured } = one;
  return [
    joined([style.bold(id), profileText(profile, refused, style)], '  '),
    ...indented(
      facts(
        [
          ['because', say`${why} (${rule})`],
          ['not started', refused],
          ['recognised', recognisedText(one)],
          ['processors', cpu],
          ['memory', memoryBytes === undefined ? undefined : formatSize(memoryBytes)],
          ['kept in memory', keptText(one)],
        ],
        style,
      ),
    ),
    ...listOf(
      'Served from memory, and written back',
      served.map(({ path, holds, why: reason }) => say`- ${path} (${holds}): ${reason}`),
      style,
    ),
    ...listOf(
      'Evidence',
      evidence.map(
        ({ fact, value, source, from, confidence }) =>
          say`- ${titleOf[fact]} ${value}: ${source}, ${Math.round(confidence * 100)} % sure, ${from}`,
      ),
      style,
    ),
    ...listOf(
      'Measured, of your runs',
      measured.map(
        (fact) =>
          say`- ${titleOf[fact.fact]} ${valueText(fact)}: ${Math.round(fact.confidence * 100)} % sure, ${fact.from}, the last ${moment(fact.dateMs)}`,
      ),
      style,
    ),
    ...listOf(
      'Proposed, and not decided',
      suggestions.map(({ profile: to, why: reason }) => say`- ${to}: ${reason}`),
      style,
    ),
    ...listOf(
      'What would change it',
      wouldChange.map((line) => say`- ${line}`),
      style,
    ),
  ];
}

/** `personactl app explain` */
export async function explain(call: Call): Promise<undefined> {
  const asked = askedAbout(call);
  const client = await call.client();
  const answer = await client.call('app.explain', asked);
  call.out.result(answer, () => explanationLines(answer.explanation, call.out.style));
}

/** A folder as it is written in metadata: a shell has filled in the home before we see it, or completed a name that lies here. */
function folderOf(given: string, { env: { HOME }, cwd }: Call['io']): string {
  const path = resolve(given.startsWith('~/') ? '/' : cwd(), given);
  if (given.startsWith('~/')) return path.slice(1);
  return HOME && path.startsWith(`${HOME}/`) ? `~/${path.slice(HOME.length + 1)}` : path;
}

/** What the options of `app set` say. */
function factsGiven(call: Call): NonNullable<Params<'app.set'>['set']> {
  const given: Record<string, unknown> = {};
  for (const fact of factNames) {
    const option = optionOf[fact];
    const text = call.text(option);
    const many = call.list(option);
    if (many.length > 0)
      given[fact] = ['data', 'cache', 'temporary', 'show', 'share'].includes(fact)
        ? many.map((path) => folderOf(path, call.io))
        : many;
    else if (text === undefined) continue;
    else if (fact === 'memory' || fact === 'storage') given[fact] = parseSize(text);
    else given[fact] = fact === 'lossOk' ? text === 'yes' : text;
  }
  return given;
}

/** `personactl app set` */
export async function set(call: Call): Promise<number | undefined> {
  const unset = call.list('unset').map((option) => {
    const fact = factNames.find((one) => optionOf[one] === option);
    if (fact === undefined)
      throw usageError('--unset takes the name of an option', call.command.name);
    return fact;
  });
  const given = factsGiven(call);
  if (Object.keys(given).length + unset.length === 0)
    throw usageError('name at least one option that says something', call.command.name);
  const params = {
    app: call.operand('APP'),
    ...(call.has('all') && { everybody: true }),
    set: given,
    unset,
  };
  return runChange(call, 'app.set', params, (outcome) => {
    const { application } = outcome.result;
    call.out.done(outcome, () => pageLines(application, call.out.style));
    return undefined;
  });
}

/** `personactl app import` */
export async function importAgain(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('app.import', {});
  const { style } = call.out;
  call.out.result(answer, () => {
    const titles = [
      { title: 'LIST' },
      { title: 'FILES', side: 'right' as const },
      { title: 'ENTRIES', side: 'right' as const },
    ];
    const rows = answer.counts.map(({ kind, files, entries }) => [kind, files, entries]);
    const problems = answer.problems.map(({ from, text }) => say`- ${from}: ${text}`);
    if (answer.problemsMore > 0) problems.push(say`- and ${answer.problemsMore} more`);
    return [
      ...columns(titles, rows, style),
      ...listOf('Not understood', problems, style),
      ...listOf(
        'Presets of the whole machine, which nothing here sets',
        answer.presets.map(({ name, summary }) => say`- ${name}: ${summary}`),
        style,
      ),
    ];
  });
}
