import type { Machine } from './machine.ts';

/**
 * What runs of the native packages and of what they load, below node_modules: no sources, no build trees, no other machine's
 * binary. The test of the installed daemon fails when a file is missing here.
 */
export function nativeParts({ node }: Machine): string[] {
  const koffi = `@koromix/koffi-linux-${node}`;
  return [
    'koffi/package.json',
    'koffi/index.js',
    'koffi/src/koffi/index.js',
    'koffi/src/koffi/src/static.js',
    `${koffi}/package.json`,
    `${koffi}/index.js`,
    `${koffi}/linux_${node}/koffi.node`,
    'sqlite3/package.json',
    'sqlite3/lib/sqlite3.js',
    'sqlite3/lib/sqlite3-binding.js',
    'sqlite3/lib/trace.js',
    'sqlite3/build/Release/node_sqlite3.node',
    'bindings/package.json',
    'bindings/bindings.js',
    'file-uri-to-path/package.json',
    'file-uri-to-path/index.js',
    'diskusage/package.json',
    'diskusage/index.js',
  ];
}

/** The package that holds the runtime, below node_modules. */
export function runtimePackage({ node }: Machine): string {
  return `node-linux-${node}`;
}
