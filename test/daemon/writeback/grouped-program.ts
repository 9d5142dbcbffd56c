import { readFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import {
  createGroup,
  type Hierarchy,
  moveProcess,
  readHierarchies,
  removeGroup,
} from '../../../daemon/kernel/cgroups.ts';
import { freezableIn, freezeFilesOf, letGo } from '../../../daemon/kernel/freezer.ts';
import { partner } from '../../support/mount-scratch.ts';

const hierarchies = process.getuid?.() === 0 ? readHierarchies() : [];
/** The ways in which groups of this machine can be stopped. */
export const ways: [string, Hierarchy | undefined][] = [
  ['version 2', freezableIn(hierarchies.filter(({ version }) => version === 2))],
  ['version 1', freezableIn(hierarchies.filter(({ version }) => version === 1))],
];

/** Writes a number into one file and then into the other, as fast as it can. */
const writer = `const fs=require('fs');const [,a,b]=process.argv;
const put=(f,n)=>fs.writeSync(f,String(n).padStart(12),0);
const x=fs.openSync(a,'w'),y=fs.openSync(b,'w');put(x,0);put(y,0);console.log('begun');
for(let n=1;;n++){put(x,n);put(y,n)}`;

/** A group that can be stopped, with a program in it that writes into two files. */
export async function grouped(
  t: ExecutionContext,
  hierarchy: Hierarchy,
  name: string,
  files: string[],
) {
  const { at, version } = hierarchy;
  const group = `${at}/personad-test-${process.pid}-${name}`;
  createGroup(group);
  t.teardown(() => void removeGroup(group));
  const program = partner(t, process.execPath, '-e', writer, ...files);
  t.is(await program.line(), 'begun');
  await moveProcess(group, program.process.pid!);
  const stop = freezeFilesOf(version, group);
  // What is stopped cannot be ended.
  t.teardown(() => letGo([stop]));
  return { group, stop, program, files };
}

/** Returns when a file has changed. */
export function untilWritten(file: string): void {
  const before = readFileSync(file, 'latin1');
  while (readFileSync(file, 'latin1') === before);
}
export const stopped = (state: string): boolean =>
  /^frozen 1$|^FROZEN/m.test(readFileSync(state, 'latin1'));
