import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import type { TestFn } from 'ava';

/** What a test needs from the machine. */
export interface Needs {
  root?: boolean;
  tools?: string[];
  /** A further condition: returns the reason why the machine lacks it, or undefined. */
  other?: () => string | undefined;
}

/** What confined children, and those with their caller's ids, take. */
export const confinedNeeds = {
  root: true,
  tools: ['bwrap', 'setpriv', 'prlimit'],
} satisfies Needs;

/** Why this machine cannot run a test with `needs`, or undefined when it can. */
export function lacking(needs: Needs): string | undefined {
  if (needs.root === true && process.getuid?.() !== 0) return 'needs root';
  for (const tool of needs.tools ?? []) if (!hasTool(tool)) return `needs ${tool}, not installed`;
  return needs.other?.();
}

/** True when `tool` can be executed from the PATH (or the sbin folders). */
export function hasTool(tool: string): boolean {
  const folders = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':');
  return folders.some((folder) => {
    try {
      accessSync(`${folder}/${tool}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * `test` itself, or, where the machine lacks something, a declaration that registers a skipped test
 * whose title ends in the reason: the closing count of the suite prints it.
 */
export function when<C>(test: TestFn<C>, needs: Needs): TestFn<C>['serial'] {
  const reason = lacking(needs);
  if (reason === undefined) return test.serial;
  const skip = (title: string, ...rest: unknown[]) =>
    (test.skip as (title: string, ...rest: unknown[]) => void)(
      `${title} [skipped: ${reason}]`,
      ...rest,
    );
  return skip as unknown as TestFn<C>['serial'];
}

/** Runs a tool of the test itself, without a shell. Returns its standard output. */
export function run(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
