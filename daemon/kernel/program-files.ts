import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Shown } from './confined.ts';
import { KernelError } from './errno.ts';

/** Programs of ours that run in children of their own. */
export type ChildProgram =
  | 'worker'
  | 'walker'
  | 'inventory'
  | 'scrubber'
  | 'surveyor'
  | 'writer'
  | 'personad';

/** Where the sources of each lie, from the root of the project. */
const SOURCES: Record<ChildProgram, string> = {
  worker: 'daemon/images/worker.ts',
  walker: 'daemon/walker.ts',
  inventory: 'daemon/inventory.ts',
  scrubber: 'daemon/scrubber.ts',
  surveyor: 'daemon/surveyor.ts',
  writer: 'daemon/writer.ts',
  personad: 'daemon/main.ts',
};
/** What the worker's sources import, and what tells node that they are modules. */
const WORKER_SOURCES = ['daemon/images', 'ipc', 'node_modules/valibot', 'package.json'];

const here = fileURLToPath(import.meta.url);
const fromSource = here.endsWith('.ts');

/** The program's file on the host: a source file in a checkout, a bundle beside the daemon's own when built. */
export function programFile(program: ChildProgram): string {
  return fromSource
    ? fileURLToPath(new URL(`../../${SOURCES[program]}`, import.meta.url))
    : fileURLToPath(new URL(`./${program}.mjs`, import.meta.url));
}

/** A program of ours in C: beside the daemon's own when built; in a checkout where `npm run build` puts it. */
export function nativeProgram(name: 'persona-confine' | 'lease-guard' | 'file-pins'): string {
  const place = fromSource ? `../../dist/${name}` : `./${name}`;
  return fileURLToPath(new URL(place, import.meta.url));
}

/**
 * A confined child is nobody's: what it runs must be readable for everybody, however private the folder around it.
 * Throws KernelError EACCES with the way out.
 */
function checkReadable(shown: readonly Shown[]): void {
  for (const { from } of shown) {
    const stats = statSync(from);
    const wanted = stats.isDirectory() ? 0o005 : 0o004;
    if ((stats.mode & wanted) === wanted) continue;
    throw new KernelError('confine', 'EACCES', `${from} (make it readable: chmod -R a+rX)`);
  }
}

/** What a confined child must be shown to run the worker, and its command line there. */
export function confinedWorker(args: readonly string[]): { argv: string[]; shown: Shown[] } {
  const shown: Shown[] = [{ from: process.execPath, at: '/program/node' }];
  const node = ['/program/node', '--no-warnings', '--max-old-space-size=1024'];
  if (!fromSource) {
    shown.push({ from: programFile('worker'), at: '/program/worker.mjs' });
    checkReadable(shown);
    return { argv: [...node, '/program/worker.mjs', ...args], shown };
  }
  for (const source of WORKER_SOURCES) {
    const from = fileURLToPath(new URL(`../../${source}`, import.meta.url));
    shown.push({ from, at: `/program/${source}` });
  }
  checkReadable(shown);
  return { argv: [...node, `/program/${SOURCES.worker}`, ...args], shown };
}
