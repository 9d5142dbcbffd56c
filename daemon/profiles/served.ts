import { type Application, atLeast, factOf, type Known } from './application.ts';

/** A folder that may lie in a fast partition while the application runs. */
export interface ServedFolder {
  path: string;
  holds: 'data' | 'cache' | 'temporary';
  why: string;
}

/** Where programs keep what can be made again, by the agreement of desktops. */
const cachePlace = /^~\/\.cache\/(?!\.\.?(\/|$))[^/]/;

const trusted = (known: Known<unknown>): boolean => atLeast(known.source, 'user');

/** Folders whose loss costs time only: an administrator or the user says so, or they lie where caches lie. */
function disposable(application: Application, holds: 'cache' | 'temporary'): ServedFolder[] {
  const known = factOf(application, holds);
  if (known === undefined) return [];
  return known.value
    .filter((path) => trusted(known) || cachePlace.test(path))
    .map((path) => ({ path, holds, why: `${known.from}: what it holds can be made again` }));
}

/**
 * The folders that may lie in memory and be written back later. Memory forgets in a crash: data is among them only where an
 * administrator or the user has said that the loss is acceptable.
 */
export function servedFolders(application: Application): ServedFolder[] {
  const lossOk = factOf(application, 'lossOk');
  const data = factOf(application, 'data');
  const accepted = lossOk?.value === true && trusted(lossOk) && data !== undefined;
  return [
    ...(accepted
      ? data.value.map((path) => ({
          path,
          holds: 'data' as const,
          why: `${lossOk.from} accepts the loss of the last half minute`,
        }))
      : []),
    ...disposable(application, 'cache'),
    ...disposable(application, 'temporary'),
  ];
}
