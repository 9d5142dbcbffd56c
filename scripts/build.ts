/**
 * Builds what is installed for users: one file per program, owned by root when root builds, with source
 * maps beside them, and the manual pages.
 *
 *   node scripts/build.ts [--out FOLDER] [PROGRAM...]
 *
 * Without names every program is built, and the folder (dist/) holds nothing else afterwards.
 */
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BuildOptions, build } from 'esbuild';
import { manualPages } from '../ctl/manual.ts';
import { version } from '../daemon/version.ts';

const root = dirname(import.meta.dirname);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: join(root, 'dist') } },
});
const folder = resolve(values.out);

/** Bundled packages written for CommonJS call `require`, which an ES module has to make itself. */
const requireBanner =
  "import { createRequire as personadRequire } from 'node:module'; const require = personadRequire(import.meta.url);";

const shared: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
  define: { PERSONA_VERSION: JSON.stringify(version) },
  // Native packages find their binary beside their own files.
  external: ['koffi', 'sqlite3', 'diskusage'],
};

/** CommonJS starts fastest; the tool's commands stay lazy inside the one file. */
const tool: BuildOptions = {
  ...shared,
  // Half the text to compile at every start.
  minify: true,
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node' },
  logOverride: { 'empty-import-meta': 'silent' },
};

const module = (banner: string): BuildOptions => ({
  ...shared,
  format: 'esm',
  banner: { js: banner },
});

/** Name of the file -> its source and the way it is built. */
const programs: Readonly<Record<string, readonly [entry: string, options: BuildOptions]>> = {
  'personactl.cjs': ['ctl/main.ts', tool],
  'personad.mjs': ['daemon/main.ts', module(`#!/usr/bin/env node\n${requireBanner}`)],
  // Programs that the daemon starts in children of their own.
  'worker.mjs': ['daemon/images/worker.ts', module(requireBanner)],
  'walker.mjs': ['daemon/walker.ts', module(requireBanner)],
};

async function buildProgram(name: string, folder: string): Promise<void> {
  const [entry, options] = programs[name] ?? [];
  if (entry === undefined) throw new Error(`there is no program ${name}`);
  const outfile = join(folder, name);
  await build({ ...options, entryPoints: [join(root, entry)], outfile });
  chmodSync(outfile, 0o755);
}

function writeManuals(folder: string): void {
  const manuals = join(folder, 'man/man1');
  mkdirSync(manuals, { recursive: true });
  for (const [name, text] of manualPages(version)) writeFileSync(join(manuals, name), text);
}

if (positionals.length > 0) {
  await Promise.all(positionals.map((name) => buildProgram(name, folder)));
} else {
  // A daemon that runs from the folder finds its programs at every moment but one.
  const next = `${folder}.next-${process.pid}`;
  try {
    await Promise.all(Object.keys(programs).map((name) => buildProgram(name, next)));
    writeManuals(next);
    rmSync(folder, { recursive: true, force: true });
    renameSync(next, folder);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}
