import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import test from 'ava';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '../..');

/** Modules of Node that load quickly or only where they are needed. */
const nodeModules = /^node:(child_process|crypto|events|fs|fs\/promises|net|os|path|tty|util)$/;

/** Files that the tool may be made of. */
const ours = /^(ctl\/.*|ipc\/(client|errors|error-table|protocol|values)\.ts)$/;

async function graph() {
  const { metafile } = await build({
    entryPoints: [join(root, 'ctl/main.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
    metafile: true,
    absWorkingDir: root,
    logLevel: 'silent',
  });
  return metafile.inputs;
}

test('the tool is made of ctl/ and the light part of ipc/, and of no package', async (t) => {
  const inputs = await graph();
  for (const file of Object.keys(inputs)) t.regex(file, ours);
  for (const [file, { imports }] of Object.entries(inputs))
    for (const { path, external } of imports)
      if (external) t.regex(path, nodeModules, `${file} imports ${path}`);
});

test('what is loaded at every start is little', async (t) => {
  const inputs = await graph();
  const seen = new Set<string>();
  const packages = new Set<string>();
  const walk = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const { path, kind, external } of inputs[file]?.imports ?? []) {
      if (kind === 'dynamic-import') continue;
      if (external) packages.add(path);
      else walk(path);
    }
  };
  walk('ctl/main.ts');
  t.deepEqual([...packages].sort(), ['node:fs', 'node:net', 'node:util']);
  for (const file of seen) t.notRegex(file, /^ctl\/run\//);
});

test('methods are imported as types only', async (t) => {
  for (const file of Object.keys(await graph())) {
    const text = readFileSync(join(root, file), 'utf8');
    for (const [, words = '', path = ''] of text.matchAll(/^import ([^;]*?) from '([^']+)';/gms)) {
      const target = relative(root, join(root, dirname(file), path));
      if (target.startsWith('ipc/methods/')) t.true(words.startsWith('type '), `${file}: ${path}`);
    }
  }
});
