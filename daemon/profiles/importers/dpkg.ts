import { BadFact, checkFact } from '../fact-values.ts';
import type { Problem, SourceText, Values } from '../fragment.ts';

/** What the package manager has written down of an installed package. */
export interface PackageFacts {
  from: string;
  dateMs: number;
  values: Values;
}

/** The names in a line of dependencies: the first of each choice, without version and architecture. */
function namesIn(depends: string): string[] {
  const names = depends.split(',').map((one) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(one)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))].slice(0, 64);
}

/** What `status` of dpkg says of these packages: what each needs, and the space it takes. Pure. */
export function parseDpkgStatus(
  { file, text, dateMs }: SourceText,
  wanted: ReadonlySet<string>,
): { packages: Map<string, PackageFacts>; problems: Problem[] } {
  const packages = new Map<string, PackageFacts>();
  const problems: Problem[] = [];
  let line = 1;
  for (const stanza of text.split('\n\n')) {
    const name = /^Package: (.*)$/m.exec(stanza)?.[1];
    const from = `${file}:${line}`;
    line += stanza.split('\n').length + 1;
    if (name === undefined || !wanted.has(name)) continue;
    const depends = /^Depends: (.*)$/m.exec(stanza)?.[1];
    const kib = /^Installed-Size: (.*)$/m.exec(stanza)?.[1];
    try {
      packages.set(name, {
        from,
        dateMs,
        values: {
          ...(depends === undefined
            ? {}
            : { dependencies: checkFact('dependencies', namesIn(depends)) }),
          ...(kib === undefined ? {} : { storage: checkFact('storage', Number(kib) * 1024) }),
        },
      });
    } catch (error) {
      if (!(error instanceof BadFact)) throw error;
      problems.push({ from, text: `a field of ${JSON.stringify(name)} ${error.message}` });
    }
  }
  return { packages, problems };
}

/** Adds which of the wanted files a package owns, from the list of its files. `/bin` and `/usr/bin` are one. Pure. */
export function addOwned(
  { file, text }: Pick<SourceText, 'file' | 'text'>,
  wanted: ReadonlySet<string>,
  owners: Map<string, string>,
): void {
  const name = /([^/:]+)(:[^/]+)?\.list$/.exec(file)?.[1];
  if (name === undefined) return;
  for (const path of text.split('\n')) {
    if (wanted.has(path)) owners.set(path, name);
    else if (wanted.has(`/usr${path}`)) owners.set(`/usr${path}`, name);
  }
}
