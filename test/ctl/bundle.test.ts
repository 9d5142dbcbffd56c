import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { fakeDaemon } from './fake-daemon.ts';
import * as samples from './samples.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

test('the bundle does what the sources do', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'persona-ctl-bundle-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const script = join(root, 'scripts/build.ts');
  await run(process.execPath, ['--no-warnings', script, '--out', folder, 'personactl.cjs']);
  const bundle = join(folder, 'personactl.cjs');
  t.is(statSync(bundle).mode & 0o777, 0o755);
  const daemon = await fakeDaemon(t, {
    'daemon.status': () => samples.status,
    'slot.list': () => ({ slots: [samples.slot] }),
  });
  const source = join(root, 'ctl/main.ts');
  const said = async (program: string, ...words: string[]) => {
    const env = { PERSONA_ROOT: daemon.root, LANG: 'C.UTF-8', PATH: process.env.PATH };
    const options = ['--no-warnings', program, ...words];
    const { stdout, stderr } = await run(process.execPath, options, { env }).catch(
      (error) => error,
    );
    return [stdout, stderr];
  };
  for (const line of [
    'status',
    'status --json',
    'status --quiet',
    'status --json --color always',
    'status --help',
    'status now',
    'slot list --json',
    'help',
    'version',
    'swpa',
    'help exec',
    'slot create desk --owner nobody-of-that-name',
  ]) {
    const words = line.split(' ');
    t.deepEqual(await said(bundle, ...words), await said(source, ...words), line);
  }
});
