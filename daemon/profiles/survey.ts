import type { NotRead, ReadText, TextRules } from '../kernel/bounded-files.ts';
import type { InstalledProgram } from '../kernel/installed-programs.ts';
import { parseApplicationFile } from './application-file.ts';
import type { Found, Fragment, Problem, SourceText } from './fragment.ts';
import type { Program } from './identity.ts';
import { parseAnanicyRules, parseAnanicyTypes } from './importers/ananicy.ts';
import { parseBrowser } from './importers/browser-list.ts';
import { type DesktopFound, parseDesktopEntry } from './importers/desktop.ts';
import { addOwned, parseDpkgStatus } from './importers/dpkg.ts';
import { isGeneric } from './importers/exec-line.ts';
import { parseFirejail } from './importers/firejail.ts';
import { type Preset, parseTunedProfile } from './importers/tuned.ts';

/** A program of an application, as it lies on the machine now. */
export interface KnownProgram extends Program {
  /** Where the file lies, behind all links. */
  real: string;
  package?: string;
}

/** What one kind of list gave. */
export interface Count {
  kind: string;
  files: number;
  entries: number;
}

/** All that was found. */
export interface Survey {
  fragments: Fragment[];
  /** What a user's own desktop entries say: nothing of what is others'. */
  entries: Fragment[];
  programs: KnownProgram[];
  presets: Preset[];
  counts: Count[];
  problems: Problem[];
  /** Problems beyond those that are told. */
  problemsMore: number;
}

/** One that has found nothing so far. */
export const emptySurvey = (): Survey => ({
  fragments: [],
  entries: [],
  programs: [],
  presets: [],
  counts: [],
  problems: [],
  problemsMore: 0,
});

/** How a survey sees the machine. */
export interface View {
  /** Hands over the texts of a folder of one of the trees. */
  read(
    tree: 'machine' | 'share' | 'etc',
    folder: string,
    rules: TextRules,
    take: (text: ReadText) => void,
  ): NotRead[];
  program(pathOrName: string): InstalledProgram | undefined;
}

const MiB = 1024 ** 2;
/** Bounds of lists that packages install: some ten times what the largest known ones have. */
const lists = { depthMax: 4, filesMax: 4_000, bytesMax: MiB, totalMax: 32 * MiB };
/** Bounds of files that people write by hand. */
const written = { suffix: '.toml', depthMax: 1, filesMax: 64, bytesMax: 64 * 1024, totalMax: MiB };
/** Bounds of a user's own desktop entries. */
const ownEntries = {
  suffix: '.desktop',
  depthMax: 2,
  filesMax: 512,
  bytesMax: 256 * 1024,
  totalMax: 4 * MiB,
};
const FRAGMENTS_MAX = 50_000;
const PROBLEMS_MAX = 200;

/** Folders of desktop entries; of two with one id the first counts. */
const entryFolders = [
  'usr/local/share/applications',
  'usr/share/applications',
  'var/lib/flatpak/exports/share/applications',
];
/** What this project ships is imported like other lists, and surer than them. */
const shippedConfidence = 0.95;

class Collector {
  readonly survey = emptySurvey();
  readonly #view: View;

  constructor(view: View) {
    this.#view = view;
  }

  problem(problem: Problem): void {
    if (this.survey.problems.length < PROBLEMS_MAX) this.survey.problems.push(problem);
    else this.survey.problemsMore += 1;
  }

  add({ fragments, problems }: Found): void {
    for (const one of problems) this.problem(one);
    for (const one of fragments) {
      if (this.survey.fragments.length >= FRAGMENTS_MAX) {
        this.problem({ from: one.from, text: `it is one of more than ${FRAGMENTS_MAX} entries` });
        return;
      }
      this.survey.fragments.push(one);
    }
  }

  /** Reads a folder, and tells what could not be read. */
  each(
    tree: Parameters<View['read']>[0],
    folder: string,
    rules: TextRules,
    take: (source: SourceText) => void,
  ): void {
    const refused = this.#view.read(tree, folder, rules, ({ path, text, modifiedMs }) =>
      take({ file: path, text, dateMs: Math.floor(modifiedMs) }),
    );
    for (const { path, reason } of refused) this.problem({ from: path, text: reason });
  }

  /** All texts of a folder. */
  all(tree: Parameters<View['read']>[0], folder: string, rules: TextRules): SourceText[] {
    const sources: SourceText[] = [];
    this.each(tree, folder, rules, (source) => sources.push(source));
    return sources;
  }

  count(kind: string, files: number, work: () => void): void {
    const before = this.survey.fragments.length + this.survey.presets.length;
    work();
    const entries = this.survey.fragments.length + this.survey.presets.length - before;
    this.survey.counts.push({ kind, files, entries });
  }

  /** Remembers a program by its file, unless it is one that runs others. */
  program(pathOrName: string): KnownProgram | undefined {
    const found = this.#view.program(pathOrName);
    if (found === undefined || isGeneric(found.real)) return undefined;
    this.survey.programs.push(found);
    return found;
  }
}

/** The id of a desktop entry: its path below the folder of entries. */
const idOf = (file: string, folder: string): string =>
  file.slice(folder.length + 2, -'.desktop'.length).replaceAll('/', '-');

function surveyEntries(collector: Collector): void {
  const seen = new Set<string>();
  let files = 0;
  const found: DesktopFound[] = [];
  for (const folder of entryFolders)
    collector.each('machine', folder, { ...lists, suffix: '.desktop' }, (source) => {
      const id = idOf(source.file, folder);
      files += 1;
      if (seen.has(id)) return;
      seen.add(id);
      found.push(parseDesktopEntry(source, id));
    });
  collector.count('desktop', files, () => {
    for (const { program, fragments, problems } of found) {
      const known = program === undefined ? undefined : collector.program(program);
      const executables = known && [known.path];
      const whole = fragments.map((one) =>
        executables === undefined ? one : { ...one, values: { ...one.values, executables } },
      );
      collector.add({ fragments: whole, problems });
    }
  });
}

/** The entries that a user has made himself: each is an application of his, known by its program. */
function surveyOwnEntries(collector: Collector, folder: string, owner: number): void {
  const sources = collector.all('machine', folder, { ...ownEntries, ownedBy: owner });
  const { entries, counts } = collector.survey;
  for (const source of sources) {
    const { program, fragments, problems } = parseDesktopEntry(source, idOf(source.file, folder));
    for (const problem of problems) collector.problem(problem);
    const known = program === undefined ? undefined : collector.program(program);
    for (const { values, ...one } of fragments) {
      const executables = known && { executables: [known.path] };
      entries.push({ ...one, source: 'user', values: { ...values, ...executables } });
    }
  }
  counts.push({ kind: 'own desktop', files: sources.length, entries: entries.length });
}

function surveyRules(collector: Collector): void {
  const folder = 'etc/ananicy.d';
  const types = new Map();
  for (const source of collector.all('machine', folder, { ...lists, suffix: '.types' })) {
    const found = parseAnanicyTypes(source);
    for (const [name, type] of found.types) types.set(name, type);
    collector.add(found);
  }
  const rules = collector.all('machine', folder, { ...lists, suffix: '.rules' });
  collector.count('ananicy', rules.length, () => {
    for (const source of rules) collector.add(parseAnanicyRules(source, types));
  });
}

function surveyFirejail(collector: Collector): void {
  const rules = { ...lists, depthMax: 1, suffix: '.profile' };
  const sources = collector.all('machine', 'etc/firejail', rules);
  collector.count('firejail', sources.length, () => collector.add(parseFirejail(sources)));
}

function surveyBrowsers(collector: Collector): void {
  const sources = collector.all('machine', 'usr/share/psd', { ...lists, depthMax: 1, suffix: '' });
  collector.count('psd', sources.length, () => {
    for (const source of sources) {
      const name = source.file.slice(source.file.lastIndexOf('/') + 1);
      collector.add(parseBrowser(source, name));
    }
  });
}

function surveyTuned(collector: Collector): void {
  const rules = { ...lists, depthMax: 2, suffix: 'tuned.conf' };
  const sources = ['usr/lib/tuned', 'etc/tuned']
    .flatMap((folder) => collector.all('machine', folder, rules))
    .filter(({ file }) => file.endsWith('/tuned.conf'));
  collector.count('tuned', sources.length, () => {
    for (const source of sources) {
      const { preset, problems } = parseTunedProfile(source, source.file.split('/').at(-2) ?? '');
      collector.add({ fragments: [], problems });
      if (preset !== undefined) collector.survey.presets.push(preset);
    }
  });
}

/** What the package manager knows of the packages that own the programs found so far. */
function surveyPackages(collector: Collector): void {
  const { programs, fragments } = collector.survey;
  const wanted = new Set(programs.map(({ real }) => real));
  const owners = new Map<string, string>();
  const rules = { depthMax: 0, filesMax: 20_000, bytesMax: 16 * MiB, totalMax: 256 * MiB };
  let files = 0;
  if (wanted.size > 0)
    collector.each('machine', 'var/lib/dpkg/info', { ...rules, suffix: '.list' }, (source) => {
      files += 1;
      addOwned(source, wanted, owners);
    });
  const packageOf = new Map<string, string>();
  for (const program of programs) {
    const owner = owners.get(program.real);
    if (owner === undefined) continue;
    program.package = owner;
    packageOf.set(program.path, owner);
  }
  const status = { depthMax: 0, filesMax: 1, bytesMax: 64 * MiB, totalMax: 64 * MiB, suffix: '' };
  const [text] = collector.all('machine', 'var/lib/dpkg/status', status);
  collector.count('dpkg', files, () => {
    if (text === undefined) return;
    const { packages, problems } = parseDpkgStatus(text, new Set(packageOf.values()));
    const added = fragments.flatMap(({ of, values }): Fragment[] => {
      const facts = packages.get(packageOf.get(values.executables?.[0] ?? '') ?? '');
      return facts === undefined ? [] : [{ of, source: 'imported', confidence: 0.8, ...facts }];
    });
    collector.add({ fragments: added, problems });
  });
}

/** Files of one folder, written for this project. */
function surveyWritten(
  collector: Collector,
  kind: string,
  tree: 'share' | 'etc' | 'machine',
  folder: string,
  owner: number,
  said: Pick<Fragment, 'source' | 'confidence'>,
): void {
  const sources = collector.all(tree, folder, { ...written, ownedBy: owner });
  collector.count(kind, sources.length, () => {
    for (const source of sources) collector.add(parseApplicationFile(source, said));
  });
}

/** Programs that people name by their paths. */
function surveyPaths(collector: Collector, more: readonly string[]): void {
  const named = collector.survey.fragments.flatMap(({ values }) => values.executables ?? []);
  const seen = new Set(collector.survey.programs.map(({ path }) => path));
  for (const path of new Set([...named, ...more])) if (!seen.has(path)) collector.program(path);
}

/** Places whose times tell that a survey of the machine would find something else. */
export function watchedPlaces({
  machine,
  share,
  etc,
}: Record<'machine' | 'share' | 'etc', string>) {
  const lists = [
    ...entryFolders,
    'etc/ananicy.d',
    'etc/firejail',
    'usr/share/psd',
    'usr/lib/tuned',
    'etc/tuned',
    'var/lib/dpkg/status',
  ];
  return [...lists.map((one) => `${machine}/${one}`), `${share}/apps.d`, `${etc}/apps.d`];
}

/** What the machine, its administrator and this project's own files say. `paths`: further programs to be known. */
export function surveyMachine(view: View, owner: number, paths: readonly string[]): Survey {
  const collector = new Collector(view);
  surveyEntries(collector);
  surveyPackages(collector);
  surveyRules(collector);
  surveyFirejail(collector);
  surveyBrowsers(collector);
  surveyTuned(collector);
  const shipped = { source: 'imported', confidence: shippedConfidence } as const;
  const stated = { source: 'admin', confidence: 1 } as const;
  surveyWritten(collector, 'shipped', 'share', 'apps.d', owner, shipped);
  surveyWritten(collector, 'administrator', 'etc', 'apps.d', owner, stated);
  surveyPaths(collector, paths);
  return collector.survey;
}

/** Where a user keeps what he says of applications, and desktop entries of his own, below his home. */
export const userFolder = '.config/persona/apps.d';
const userEntries = '.local/share/applications';

/** What a user says in files of his own. `home` is relative to the machine's root. */
export function surveyUser(
  view: View,
  { uid, home }: { uid: number; home: string },
  paths: readonly string[],
): Survey {
  const collector = new Collector(view);
  const said = { source: 'user', confidence: 1 } as const;
  surveyWritten(collector, 'user', 'machine', `${home}/${userFolder}`, uid, said);
  surveyOwnEntries(collector, `${home}/${userEntries}`, uid);
  surveyPaths(collector, paths);
  return collector.survey;
}
