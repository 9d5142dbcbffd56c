/**
 * Builds what is installed for users: bundled programs, owned by root when root builds, with source maps
 * beside them, and the manual pages.
 *
 *   node scripts/build.ts [--out FOLDER] [PROGRAM...]
 *
 * Without names every program is built, and the folder (dist/) holds nothing else afterwards.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BuildOptions, build } from 'esbuild';
import { manualPages } from '../ctl/manual.ts';
import { version } from '../daemon/version.ts';
import { compileNative, type NativeProgram, nativePrograms } from './launcher.ts';

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
  // Bundles name the files they were made from: seen from here, wherever the checkout lies and the build was called.
  absWorkingDir: root,
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

/**
 * A program of the tool. CommonJS starts fastest; its commands stay lazy inside the one file. It is one
 * expression, a function that is given `require`, so that its loader can run compiled code of it.
 */
const program: BuildOptions = {
  ...shared,
  // Half the text to compile at every start.
  minify: true,
  format: 'cjs',
  banner: { js: '(function (require) {' },
  footer: { js: '})' },
  logOverride: { 'empty-import-meta': 'silent' },
  // Compiled code has no way to answer `import()`: it becomes `require` of the same moment.
  supported: { 'dynamic-import': false },
};

/** Names stay, so that a stack trace can be read; the rest of the text is memory that a daemon would keep. */
const module = (banner: string): BuildOptions => ({
  ...shared,
  minifyWhitespace: true,
  minifySyntax: true,
  format: 'esm',
  banner: { js: banner },
});

const toolName = 'personactl.cjs';

/** Name of the file -> its source and the way it is built. */
const programs: Readonly<Record<string, readonly [entry: string, options: BuildOptions]>> = {
  'personad.mjs': ['daemon/main.ts', module(`#!/usr/bin/env node\n${requireBanner}`)],
  // Programs that the daemon starts in children of their own.
  'worker.mjs': ['daemon/images/worker.ts', module(requireBanner)],
  'walker.mjs': ['daemon/walker.ts', module(requireBanner)],
  'inventory.mjs': ['daemon/inventory.ts', module(requireBanner)],
  'scrubber.mjs': ['daemon/scrubber.ts', module(requireBanner)],
  'surveyor.mjs': ['daemon/surveyor.ts', module(requireBanner)],
  'writer.mjs': ['daemon/writer.ts', module(requireBanner)],
  // The simulator, which the tool starts as its caller.
  'replay.mjs': ['daemon/replay.ts', module(requireBanner)],
};

async function buildProgram(name: string, folder: string): Promise<void> {
  if (name === toolName) return buildTool(folder);
  const native = nativePrograms.find((one) => one === name);
  if (native !== undefined) return buildNative(native, folder);
  const [entry, options] = programs[name] ?? [];
  if (entry === undefined) throw new Error(`there is no program ${name}`);
  const outfile = join(folder, name);
  await build({ ...options, entryPoints: [join(root, entry)], outfile });
  chmodSync(outfile, 0o755);
}

function buildNative(program: NativeProgram, folder: string): void {
  if (!compileNative(program, join(folder, program)))
    console.error(`${program} is not built: there is no C compiler`);
}

/** The tool is a loader, its two programs, and the compiled code of each. */
async function buildTool(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const [all, status] = [
    await buildToolProgram(folder, 'personactl', 'ctl/main.ts'),
    await buildToolProgram(folder, 'personactl-status', 'ctl/status-main.ts'),
  ];
  await build({
    ...shared,
    sourcemap: false,
    minify: true,
    format: 'cjs',
    banner: { js: '#!/usr/bin/env node' },
    define: { PROGRAM: JSON.stringify(all), STATUS_PROGRAM: JSON.stringify(status) },
    entryPoints: [join(root, 'ctl/loader.ts')],
    outfile: join(folder, toolName),
  });
  chmodSync(join(folder, toolName), 0o755);
}

/** Builds one program of the tool with its compiled code, and answers the name of its file. */
async function buildToolProgram(folder: string, label: string, entry: string): Promise<string> {
  const built = await build({
    ...program,
    entryPoints: [join(root, entry)],
    outfile: join(folder, `${label}.js`),
    write: false,
  });
  const text = built.outputFiles.find(({ path }) => path.endsWith('.js'))?.contents;
  const map = built.outputFiles.find(({ path }) => path.endsWith('.map'))?.contents;
  if (text === undefined || map === undefined) throw new Error('the tool was not built');
  // V8 knows compiled code by the length of its text only: the name ties the two together.
  const name = `${label}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}.js`;
  writeFileSync(join(folder, name), text);
  writeFileSync(join(folder, `${label}.js.map`), map);
  compileTool(folder, name);
  return name;
}

/**
 * Writes the compiled code of the tool beside it. The same text gives the same code: the tables are sown with one seed, which V8
 * does not look for when it takes the code, and no path of this machine is part of it.
 */
function compileTool(folder: string, name: string): void {
  const args = ['--no-warnings', '--random-seed=1', join(root, 'scripts/tool-code.ts'), name];
  // What the tool does, and so what is compiled, is not to depend on who builds it: colours come from the environment.
  const { PATH, TMPDIR } = process.env;
  const env = { PATH, ...(TMPDIR === undefined ? {} : { TMPDIR }) };
  execFileSync(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    cwd: folder,
    env,
  });
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
    const names = [...nativePrograms, toolName, ...Object.keys(programs)];
    await Promise.all(names.map((name) => buildProgram(name, next)));
    writeManuals(next);
    rmSync(folder, { recursive: true, force: true });
    renameSync(next, folder);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}
