import {
  type Application,
  byPrecedence,
  type FactName,
  type Facts,
  factOf,
  type Known,
} from './application.ts';
import { categoryConfidence, valuesOfCategories } from './category.ts';
import type { Fragment } from './fragment.ts';
import type { Program, Recognised } from './identity.ts';
import type { FileNumbers, Layer } from './layer.ts';
import { isKeptApartByAdmin, strictness } from './selection.ts';
import type { KnownProgram } from './survey.ts';

/** Finds the file that lies at a path of the machine now; undefined when there is none. */
export type FileAt = (path: string) => FileNumbers | undefined;

const lastPart = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** An application, and how a program was found to be it. */
export interface Found {
  application: Application;
  recognised: Recognised;
}

/** An application one of whose executables a program is, and the package of the file. */
interface Owned {
  application: Application;
  path: string;
  owner?: string;
}

/** What several surveys know together, as one user may see it. Nothing here touches the machine, but by `fileAt`. */
export class Catalogue {
  readonly #layers: readonly Layer[];
  readonly #measured: Layer | undefined;
  readonly #own: Layer | undefined;

  /**
   * @param measured what was measured of applications that others make known: by itself it makes none known.
   * @param own what a user's own desktop entries say: it counts only for an id, and for a program, of which nobody else says anything.
   */
  constructor(
    layers: readonly Layer[],
    { measured, own }: { measured?: Layer | undefined; own?: Layer | undefined } = {},
  ) {
    this.#layers = layers;
    this.#measured = measured;
    this.#own = own;
  }

  /** Every application that is known by an id, sorted. */
  ids(): string[] {
    const all = this.#layers.flatMap((layer) => [...layer.ids()]);
    return [...new Set([...all, ...(this.#own?.ids() ?? [])])].sort();
  }

  has(id: string): boolean {
    return this.#ofId(id).length > 0;
  }

  /** What is said of the application itself. */
  #ofId(id: string): Fragment[] {
    const found = this.#layers.flatMap((layer) => layer.ofId(id));
    const isOthers = found.some(({ source }) => source !== 'user');
    return isOthers ? found : [...found, ...(this.#own?.ofId(id) ?? [])];
  }

  /** The applications that are started by this path, by anybody's word. */
  #startedBy(path: string): ReadonlySet<string> {
    const found = this.#layers.flatMap((layer) => layer.startedBy(path));
    return new Set(found.length > 0 ? found : this.#own?.startedBy(path));
  }

  /** All that is known of it: of itself, and of programs that are called like its executables. */
  application(id: string): Application {
    const own = this.#ofId(id);
    const executables = own
      .filter(({ values }) => values.executables !== undefined)
      .toSorted(byPrecedence)[0]?.values.executables;
    // An id is the word of a package; only where it has no program it stands for the name of one.
    const names = new Set((executables ?? [id]).map(lastPart));
    const named = [...names].flatMap((name) => this.#layers.flatMap((layer) => layer.ofName(name)));
    return { id, facts: factsOf([...own, ...named, ...(this.#measured?.ofId(id) ?? [])]) };
  }

  /** How the application is recognised when it is started by the first of its executables that is there. */
  started(application: Application): Recognised {
    for (const path of factOf(application, 'executables')?.value ?? []) {
      const known = this.at(path);
      if (known === undefined) continue;
      const { device, inode, package: owner } = known;
      return { by: 'executable', path, device, inode, ...(owner && { package: owner }) };
    }
    return { by: 'name', name: application.id };
  }

  /** The program that lay at this path. */
  at(path: string): KnownProgram | undefined {
    return this.#layers.map((layer) => layer.at(path)).find(Boolean);
  }

  /** What is only known of programs of a name. */
  #named(name: string): Application {
    return { id: name, facts: factsOf(this.#layers.flatMap((layer) => layer.ofName(name))) };
  }

  /**
   * The application that a program is: by the file itself; where a package was updated, or nobody has read yet which files there are, by the
   * path at which the machine has this very file now. Failing that, by its name. Of several that it starts the one that is kept apart most strictly
   * counts, whatever others say of theirs; else the one that it is called (`as`), else the one that has the name of the file.
   */
  find(program: Program, fileAt: FileAt, as?: string): Found {
    const name = lastPart(program.path);
    const rank = ({ application: { id } }: Owned) => [as, name, id].indexOf(id);
    const [best] = this.#byFile(program, fileAt).toSorted(
      (a, b) =>
        strictness(b.application) - strictness(a.application) ||
        rank(a) - rank(b) ||
        (a.application.id < b.application.id ? -1 : 1),
    );
    return best === undefined ? this.#byName(name) : itself(best, program);
  }

  /** The application that somebody calls a program: known as it, where the program is one of its executables. */
  called(id: string, program: Program | undefined, fileAt: FileAt): Found {
    const own = program && this.#byFile(program, fileAt).find((one) => one.application.id === id);
    if (program && own) return itself(own, program);
    const by = this.has(id) ? ({ by: 'name', name: id } as const) : ({ by: 'nothing' } as const);
    return { application: this.application(id), recognised: by };
  }

  #byFile(program: Program, fileAt: FileAt): Owned[] {
    const found: Owned[] = [];
    for (const layer of this.#layers)
      for (const known of layer.files(program)) this.#add(found, known.path, known.package);
    if (found.some(({ path }) => path === program.path)) return found;
    const before = this.at(program.path);
    const isSaid = this.#layers.some((layer) => layer.startedBy(program.path).length > 0);
    const now = isSaid ? fileAt(program.path) : undefined;
    if (now?.device === program.device && now.inode === program.inode)
      this.#add(found, program.path, before?.package);
    return found;
  }

  /** The applications that are started by this path. */
  #add(found: Owned[], path: string, owner?: string): void {
    for (const id of this.#startedBy(path)) {
      const application = this.application(id);
      if (executablesOf(application).includes(path))
        found.push({ application, path, ...(owner && { owner }) });
    }
  }

  #byName(name: string): Found {
    if (this.has(name))
      return { application: this.application(name), recognised: { by: 'name', name } };
    const application = this.#named(name);
    const isKnown = Object.keys(application.facts).length > 0;
    return { application, recognised: isKnown ? { by: 'name', name } : { by: 'nothing' } };
  }
}

const itself = ({ application, path, owner }: Owned, { device, inode }: Program): Found => ({
  application,
  recognised: { by: 'executable', path, device, inode, ...(owner && { package: owner }) },
});

/** Its executables by the word that counts. A user takes none away from what an administrator keeps apart. */
function executablesOf(application: Application): readonly string[] {
  const said = application.facts.executables ?? [];
  const first = said[0]?.value ?? [];
  if (!isKeptApartByAdmin(application)) return first;
  return [...first, ...(said.find(({ source }) => source !== 'user')?.value ?? [])];
}

/** All that several places say, fact by fact, the one that counts first; kinds of application tell what nobody else does. */
function factsOf(fragments: readonly Fragment[]): Facts {
  const facts: { [name: string]: Known<unknown>[] } = {};
  const add = ({ source, from, confidence, dateMs, values }: Omit<Fragment, 'of'>) => {
    for (const [fact, value] of Object.entries(values)) {
      facts[fact] ??= [];
      facts[fact].push({ value, source, from, confidence, dateMs });
    }
  };
  for (const fragment of fragments) add(fragment);
  for (const known of Object.values(facts)) known.sort(byPrecedence);
  const categories = (facts as Facts).categories?.[0];
  if (categories !== undefined) {
    const { from, dateMs } = categories;
    const values = valuesOfCategories(categories);
    const source = 'category' as const;
    add({ source, from: `categories of ${from}`, confidence: categoryConfidence, dateMs, values });
    for (const known of Object.values(facts)) known.sort(byPrecedence);
  }
  return facts as { [K in FactName]?: never };
}
