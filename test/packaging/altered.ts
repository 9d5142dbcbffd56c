import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '../../daemon/version.ts';
import { finish } from '../support/cache.ts';

/** How a package differs from the one it was made from. */
export interface Alteration {
  version: string;
  /** Changes the text of installed files, by path. */
  files?: Readonly<Record<string, (text: string) => string>>;
}

/** The same package in another version, below `folder`. Returns its path. */
export async function altered(
  deb: string,
  folder: string,
  { version, files = {} }: Alteration,
): Promise<string> {
  const tree = mkdtempSync(join(folder, 'tree-'));
  await finish('dpkg-deb', ['--raw-extract', deb, tree]);
  const edits = {
    'DEBIAN/control': (text: string) => text.replace(/^Version: .*$/m, `Version: ${version}`),
    ...files,
  };
  const sums = join(tree, 'DEBIAN/md5sums');
  for (const [path, edit] of Object.entries(edits)) {
    const place = join(tree, path);
    const before = readFileSync(place, 'utf8');
    const text = edit(before);
    if (text === before) throw new Error(`${path} has not been changed: it is not as expected`);
    writeFileSync(place, text);
    const sum = createHash('md5').update(text).digest('hex');
    const known = readFileSync(sums, 'utf8');
    writeFileSync(sums, known.replace(new RegExp(`^\\w+(?=  ${path}$)`, 'm'), sum));
  }
  const file = join(folder, `personad_${version}.deb`);
  await finish('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, file]);
  rmSync(tree, { recursive: true });
  return file;
}

/** `text` with one thing replaced, which must be there: the build may write it another way. */
function replaced(text: string, what: string | RegExp, by: string): string {
  const changed = text.replace(what, by);
  if (changed === text) throw new Error(`the program has no ${what}`);
  return changed;
}

const program = 'usr/lib/personad/dist/personad.mjs';

/** A next version that works. It tells its number. */
export const next = (number: string): Alteration => ({
  version: number,
  files: { [program]: (text) => text.replaceAll(`"${version}"`, `"${number}"`) },
});

/** A version that cannot even be loaded. */
export const unloadable = (version: string): Alteration => ({
  version,
  files: { [program]: () => "import 'nothing-of-this-name';\n" },
});

/** A version whose checks pass, and whose daemon ends before it is ready. */
export const neverReady = (version: string): Alteration => ({
  version,
  files: {
    [program]: (text) =>
      text.replace('\n', '\nif (process.argv.length === 2) throw new Error("not ready");\n'),
  },
});

/** A version that brings the database to a newer schema, and then ends before it is ready. */
export const migrating = (version: string): Alteration => ({
  version,
  files: {
    [program](text) {
      const later = '$1, { version: 1e6, sql: "CREATE TABLE later (x)" }$2';
      const migrated = replaced(text, /(\bmigrations\s*=\s*\[[^\]]*\w)(\s*\])/, later);
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it becomes part of a template
      return replaced(migrated, '`READY=1', '`${process.exit(1)}READY=1');
    },
  },
});
