import { isAbsolute, join } from 'node:path';
import { type Application, atLeast, type FactValues, factOf } from './application.ts';
import type { Found } from './catalogue.ts';
import type { Grant } from './secure-way.ts';

/** Paths as the user's: `~/` is his home. Who has none has nothing there. */
const at = (paths: readonly string[], home: string | undefined): string[] =>
  paths.flatMap((path) => {
    if (!path.startsWith('~/')) return path;
    return home === undefined || !isAbsolute(home) || home === '/' ? [] : join(home, path.slice(2));
  });

/**
 * What an application is granted at each start that keeps it apart: what an administrator says, or the user where none does. Lists of the
 * machine open nothing. Pure.
 */
export function statedGrants(application: Application, home: string | undefined): Grant[] {
  const said = <K extends 'grants' | 'show' | 'share'>(name: K): FactValues[K] | [] => {
    const known = factOf(application, name);
    return known !== undefined && atLeast(known.source, 'user') ? known.value : [];
  };
  return [
    ...said('grants'),
    ...at(said('show'), home).map((show) => ({ show })),
    ...at(said('share'), home).map((share) => ({ share })),
  ];
}

/** The enclave that is to be its home by the same word; none for what only calls itself so. Pure. */
export function statedEnclave({ application, recognised }: Found): string | undefined {
  const known = recognised.by === 'executable' ? factOf(application, 'enclave') : undefined;
  return known !== undefined && atLeast(known.source, 'user') ? known.value : undefined;
}

/** What is stated, and what is asked for beside it. Pure. */
export function withStated(stated: readonly Grant[], asked: readonly Grant[]): Grant[] {
  const all = new Map([...stated, ...asked].map((one) => [JSON.stringify(one), one]));
  return [...all.values()];
}
