// Checks the import law of .dependency-cruiser.json. The checker cannot read TypeScript 7 itself, so it gets
// the same tree as plain JavaScript: once with type-only imports kept as imports, because they count for the
// law too, and once without them for circles, which only bind what runs.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cruise } from 'dependency-cruiser';

const root = dirname(import.meta.dirname);
const zones = ['ipc', 'daemon', 'ctl', 'scripts', 'test', 'bench'];
const circles = 'no-circles';

interface Law {
  options: object;
  forbidden: { name: string }[];
}

const fromClause =
  /(?<=^|\n)(?:import|export)(?:\s+type)?(?:\s+[\w$]+)?\s*,?\s*(?:\{[^}]*\}|\*(?:\s+as\s+\w+)?)?\s*from\s*('[^']*')[^;]*;/g;

/** The program in a file as JavaScript. With `typesCount` a type-only import is an import like any other. */
function plain(source: string, typesCount: boolean): string {
  const kept = typesCount ? source.replace(fromClause, 'import $1;') : source;
  const script = stripTypeScriptTypes(kept, { mode: 'strip' });
  return script.replace(/(['"]\.{1,2}\/[^'"\n]*)\.ts(?=['"])/g, '$1.js');
}

/** Copies the sources below `to`, each under its own name. Returns the zones that exist. */
function copyTo(to: string, typesCount: boolean): string[] {
  const found = zones.filter((zone) => readdirSync(root).includes(zone));
  for (const zone of found) {
    const names = readdirSync(join(root, zone), { recursive: true, encoding: 'utf8' });
    for (const name of names.filter((one) => /(?<!\.d)\.ts$/.test(one))) {
      const target = join(to, zone, name.replace(/\.ts$/, '.js'));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, plain(readFileSync(join(root, zone, name), 'utf8'), typesCount));
    }
  }
  symlinkSync(join(root, 'node_modules'), join(to, 'node_modules'));
  writeFileSync(join(to, 'package.json'), readFileSync(join(root, 'package.json')));
  return found;
}

/** Prints what breaks the rules that `counts` picks; true when nothing does. */
async function check(law: Law, typesCount: boolean): Promise<boolean> {
  const copy = mkdtempSync(join(tmpdir(), 'personad-imports-'));
  try {
    const found = copyTo(copy, typesCount);
    const forbidden = law.forbidden.filter(({ name }) => (name === circles) !== typesCount);
    process.chdir(copy);
    const ruleSet = { forbidden } as never;
    const options = { ...law.options, ruleSet, validate: true, outputType: 'err', baseDir: copy };
    const { output, exitCode } = await cruise(found, options as never);
    const named = String(output).replace(
      /\b((?:ipc|daemon|ctl|scripts|test|bench)\/\S*)\.js\b/g,
      '$1.ts',
    );
    process.stdout.write(`${typesCount ? 'law' : 'circles'}: ${named.trim()}\n`);
    return exitCode === 0;
  } finally {
    process.chdir(root);
    rmSync(copy, { recursive: true, force: true });
  }
}

const law = JSON.parse(readFileSync(join(root, '.dependency-cruiser.json'), 'utf8')) as Law;
const held = [await check(law, true), await check(law, false)];
process.exitCode = held.every(Boolean) ? 0 : 1;
