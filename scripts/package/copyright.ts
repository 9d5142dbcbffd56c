import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from './machine.ts';
import { nativeParts, runtimePackage } from './natives.ts';

const head = `personad is Copyright the personad authors and licensed under the Apache License,
Version 2.0. On Debian systems its text is /usr/share/common-licenses/Apache-2.0.

The package contains the work of others, each under the licence printed below: the
Node.js runtime, native packages, and packages that are bundled into the programs.

The programs persona-run, persona-confine, lease-guard and file-pins have parts of the GNU
C Library in them, which is Copyright the Free Software Foundation and others and licensed
under the GNU Lesser General Public License, version 2.1 or later. On Debian systems its
text is /usr/share/common-licenses/LGPL-2.1. Its source is that of Debian's package glibc;
those of the programs, in ctl/native and daemon/native, are the part to link with another
version of it.
`;

interface Manifest {
  name: string;
  version: string;
  license?: string;
  homepage?: string;
}

/** The package folders, below node_modules, whose text went into the bundles: read from their source maps. */
function bundled(dist: string): string[] {
  const found = new Set<string>();
  for (const name of readdirSync(dist).filter((one) => one.endsWith('.map'))) {
    const { sources } = JSON.parse(readFileSync(join(dist, name), 'utf8')) as { sources: string[] };
    for (const source of sources) {
      const folder = /node_modules\/((?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)\//.exec(
        source,
      )?.[1];
      if (folder !== undefined) found.add(folder);
    }
  }
  return [...found];
}

/** Package folders of files such as `koffi/index.js`. */
function packagesOf(parts: readonly string[]): string[] {
  return parts.filter((part) => part.endsWith('/package.json')).map((part) => part.slice(0, -13));
}

function licenceOf(folder: string): string {
  const name = readdirSync(folder).find((one) => /^(licen[cs]e|copying)/i.test(one));
  return name === undefined
    ? ''
    : readFileSync(join(folder, name), 'utf8').replaceAll('\r', '').trim();
}

function section(modules: string, folder: string): string {
  const place = join(modules, folder);
  const text = readFileSync(join(place, 'package.json'), 'utf8');
  const { name, version, license = 'see below', homepage } = JSON.parse(text) as Manifest;
  const licence = licenceOf(place);
  const title = [`${name} ${version} (${license})`, ...(homepage === undefined ? [] : [homepage])];
  // A platform's half of a package has its licence in the other half.
  return [...title, ...(licence === '' ? [] : ['', licence])].join('\n');
}

/** The text of /usr/share/doc/personad/copyright: every licence of what is shipped. */
export function copyrightOf(root: string, dist: string, machine: Machine): string {
  const modules = join(root, 'node_modules');
  if (!existsSync(modules)) throw new Error('the packages are not installed: run npm ci');
  const folders = [...bundled(dist), ...packagesOf(nativeParts(machine))].sort();
  const all = [runtimePackage(machine), ...folders].map((folder) => section(modules, folder));
  return `${[head, ...all].join(`\n${'-'.repeat(72)}\n\n`)}\n`;
}
