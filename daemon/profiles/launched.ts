import type { Catalogue, FileAt, Found } from './catalogue.ts';
import type { Program } from './identity.ts';
import { choose } from './selection.ts';

/** What somebody says that he starts. */
export interface Claim {
  /** The application, as he calls it. */
  app?: string | undefined;
  executable?: Program | undefined;
}

/** An application that would not be started by a program that is none of its own. */
const isStrict = ({ application }: Found): boolean =>
  choose({ application, recognised: { by: 'name', name: application.id }, obstacles: {} })
    .refused !== undefined;

/**
 * The application that is started: the one whose file it is, whatever it is called. Only an application that starts by its own executables
 * or not at all keeps its name: it is not to be had by another program. Pure but for `fileAt`.
 */
export function launched(catalogue: Catalogue, fileAt: FileAt, { app, executable }: Claim): Found {
  const claimed = app === undefined ? undefined : catalogue.called(app, executable, fileAt);
  if (executable === undefined || claimed?.recognised.by === 'executable')
    return claimed ?? catalogue.called('', undefined, fileAt);
  const own = catalogue.find(executable, fileAt);
  if (claimed === undefined) return own;
  if (own.recognised.by === 'executable') return isStrict(claimed) ? claimed : own;
  return claimed.recognised.by === 'nothing' ? own : claimed;
}
