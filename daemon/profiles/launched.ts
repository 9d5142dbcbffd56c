import type { Application } from './application.ts';
import type { Catalogue, FileAt, Found } from './catalogue.ts';
import type { Program } from './identity.ts';
import { strictness } from './selection.ts';

/** What somebody says that he starts. */
export interface Claim {
  /** The application, as he calls it. */
  app?: string | undefined;
  executable?: Program | undefined;
}

/**
 * The application that is started: the one whose file it is, whatever it is called. Of several with one file the caller may say which, unless another
 * one is kept apart more strictly. Only an application that starts by its own executables or not at all keeps its name: it is not to be had by
 * another program. Pure but for `fileAt`.
 */
export function launched(catalogue: Catalogue, fileAt: FileAt, { app, executable }: Claim): Found {
  if (executable === undefined) return catalogue.called(app ?? '', undefined, fileAt);
  const own = catalogue.find(executable, fileAt, app);
  const claimed = app === undefined ? undefined : catalogue.called(app, executable, fileAt);
  if (claimed === undefined || claimed.recognised.by === 'executable') return own;
  if (own.recognised.by === 'executable')
    return strictness(claimed.application) > 0 ? claimed : own;
  return claimed.recognised.by === 'nothing' ? own : claimed;
}

/** The application that is started when this one is, by its own executable: another one where that is kept apart more strictly. */
export function startedAs(catalogue: Catalogue, fileAt: FileAt, application: Application): Found {
  const recognised = catalogue.started(application);
  return recognised.by === 'executable'
    ? launched(catalogue, fileAt, { app: application.id, executable: recognised })
    : { application, recognised };
}
