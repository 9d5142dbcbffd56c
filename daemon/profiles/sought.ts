import { setImmediate as turn } from 'node:timers/promises';
import { factOf } from './application.ts';
import type { Catalogue } from './catalogue.ts';
import type { Program } from './identity.ts';
import { type Choice, choose } from './selection.ts';

/** Applications that are looked at before others get their turn. */
const SLICE = 64;

/** Something is to be done for a program that runs so, beside starting it. */
export const isSpecial = ({ profile, cpu }: Choice): boolean =>
  profile !== 'standard' || cpu !== 'normal';

/** The programs for which something is to be done even when they were started without the daemon. */
export async function soughtIn(catalogue: Catalogue): Promise<Program[]> {
  const found: Program[] = [];
  for (const [at, id] of catalogue.ids().entries()) {
    if (at % SLICE === SLICE - 1) await turn();
    const application = catalogue.application(id);
    for (const path of factOf(application, 'executables')?.value ?? []) {
      const known = catalogue.at(path);
      if (known === undefined) continue;
      const { device, inode } = known;
      const recognised = { by: 'executable', path, device, inode } as const;
      if (isSpecial(choose({ application, recognised, obstacles: {} })))
        found.push({ path, device, inode });
    }
  }
  return found;
}
