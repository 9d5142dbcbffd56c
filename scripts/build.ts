/**
 * Builds what is installed for users: one file per program in dist/, owned by root when root builds,
 * with source maps beside them, and the manual pages. `--check` builds without writing.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { manualPages } from '../ctl/manual.ts';

const root = dirname(import.meta.dirname);
const folder = join(root, 'dist');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
};

/** Bundled packages written for CommonJS call `require`, which an ES module has to make itself. */
const requireBanner =
  "import { createRequire as personadRequire } from 'node:module'; const require = personadRequire(import.meta.url);";

const shared: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'linked',
  logLevel: 'warning',
  define: { PERSONA_VERSION: JSON.stringify(version) },
  // Native packages find their binary beside their own files; the logger starts no threads of ours.
  external: ['koffi', 'sqlite3', 'diskusage'],
};

/** CommonJS starts fastest; the tool's commands stay lazy inside the one file. */
const tool: BuildOptions = {
  ...shared,
  // Half the text to compile at every start.
  minify: true,
  entryPoints: [join(root, 'ctl/main.ts')],
  outfile: join(folder, 'personactl.cjs'),
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node' },
  logOverride: { 'empty-import-meta': 'silent' },
};

const module = (entry: string, name: string, banner = requireBanner): BuildOptions => ({
  ...shared,
  entryPoints: [join(root, entry)],
  outfile: join(folder, name),
  format: 'esm',
  banner: { js: banner },
});

/** Programs that the daemon starts in children of their own. */
const children: readonly (readonly [entry: string, name: string])[] = [
  ['daemon/images/worker.ts', 'worker.mjs'],
  ['daemon/walker.ts', 'walker.mjs'],
];

const programs = [
  tool,
  module('daemon/main.ts', 'personad.mjs', `#!/usr/bin/env node\n${requireBanner}`),
  ...children
    .filter(([entry]) => existsSync(join(root, entry)))
    .map(([entry, name]) => module(entry, name)),
].filter(({ entryPoints }) => existsSync((entryPoints as string[])[0] ?? ''));

const check = process.argv.includes('--check');
if (!check) rmSync(folder, { recursive: true, force: true });
await Promise.all(programs.map((options) => build({ ...options, write: !check })));
if (!check) {
  for (const { outfile = '' } of programs) chmodSync(outfile, 0o755);
  const manuals = join(folder, 'man/man1');
  mkdirSync(manuals, { recursive: true });
  for (const [name, text] of manualPages(version)) writeFileSync(join(manuals, name), text);
}
