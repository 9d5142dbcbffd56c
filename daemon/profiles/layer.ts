import type { Fragment, Values } from './fragment.ts';
import type { Program } from './identity.ts';
import type { KnownProgram } from './survey.ts';

/** The numbers of a file. */
export type FileNumbers = Pick<Program, 'device' | 'inode'>;

/** A file as the key of a map. */
export const fileKey = ({ device, inode }: FileNumbers) => `${device}:${inode}`;

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [value]);
  else known.push(value);
}

/** What one survey found, to be looked up. */
export class Layer {
  readonly #byId = new Map<string, Fragment[]>();
  readonly #byName = new Map<string, Fragment[]>();
  readonly #byExecutable = new Map<string, string[]>();
  readonly #byFile = new Map<string, KnownProgram[]>();
  readonly #byPath = new Map<string, KnownProgram>();

  constructor(fragments: readonly Fragment[], programs: readonly KnownProgram[]) {
    const one = sharedValues();
    for (const fragment of fragments) {
      const kept = { ...fragment, values: one(fragment.values) };
      if ('name' in fragment.of) push(this.#byName, fragment.of.name, kept);
      else {
        push(this.#byId, fragment.of.id, kept);
        for (const path of fragment.values.executables ?? [])
          push(this.#byExecutable, path, fragment.of.id);
      }
    }
    for (const program of programs) {
      this.#byPath.set(program.path, program);
      push(this.#byFile, fileKey(program), program);
    }
  }

  ids(): IterableIterator<string> {
    return this.#byId.keys();
  }

  /** What is said of the application itself. */
  ofId(id: string): readonly Fragment[] {
    return this.#byId.get(id) ?? [];
  }

  /** What is said of programs that are called so. */
  ofName(name: string): readonly Fragment[] {
    return this.#byName.get(name) ?? [];
  }

  /** Ids of applications of which somebody says that they are started by this path. */
  startedBy(path: string): readonly string[] {
    return this.#byExecutable.get(path) ?? [];
  }

  /** The programs that are this very file. */
  files(file: FileNumbers): readonly KnownProgram[] {
    return this.#byFile.get(fileKey(file)) ?? [];
  }

  /** The program that lay at this path. */
  at(path: string): KnownProgram | undefined {
    return this.#byPath.get(path);
  }
}

/** Thousands of rules say one of a few things: each is kept once. */
function sharedValues(): (values: Values) => Values {
  const kept = new Map<string, Values>();
  return (values) => {
    const key = JSON.stringify(values);
    const known = kept.get(key);
    if (known === undefined) kept.set(key, values);
    return known ?? values;
  };
}
