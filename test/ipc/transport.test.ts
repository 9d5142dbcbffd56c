import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const modules = join(import.meta.dirname, '../../node_modules');

/** Hash of every file that could run, of one package: names and contents, in order. */
function hashOf(name: string): string {
  const hash = createHash('sha256');
  const folder = join(modules, name);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.([cm]?js|node|json|wasm)$/.test(file))
    .sort();
  for (const file of files) {
    const bytes = readFileSync(join(folder, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}

// The releases of this family were malicious twice. These files were read line by line; a change of
// any of them has to be read again before the hash here is changed.
const read = {
  'node-ipc': '9ebfb34a3184a77247f533a5bc0c8de170c66dc918ac894ab64e26ef5e420721',
  'event-pubsub': '64a81c9d98ccc8c6209a187b268d6093b37e686f380aa938fbf3dd633d2089b6',
  'js-message': 'df81ce3501f34c421de4a730f9b0b9af9acf4b9bd308f6518dcb0f598067f787',
  'js-queue': '1ba0c2b1d6c912c72131b96c8c5bf4c546ba82ea555706f882bab84837d92978',
  'strong-type': 'fdacca9336a14badb1b66f068c6aed8d98bd6de7da2f04c3b01a0597544e329f',
  'easy-stack': '45a38bcb8edee9e4aaf640d0e7cb696d615b862897a3cd576458240ce8a2632b',
};

for (const [name, hash] of Object.entries(read))
  test(`${name} is byte by byte what was reviewed`, (t) => t.is(hashOf(name), hash));

test('the family has no further members', (t) => {
  const seen = new Set<string>();
  const visit = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    const { dependencies = {}, scripts = {} } = JSON.parse(
      readFileSync(join(modules, name, 'package.json'), 'utf8'),
    );
    t.false(
      ['preinstall', 'install', 'postinstall'].some((script) => script in scripts),
      name,
    );
    for (const dependency of Object.keys(dependencies)) visit(dependency);
  };
  visit('node-ipc');
  t.deepEqual([...seen].sort(), Object.keys(read).sort());
});
