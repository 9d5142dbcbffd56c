/** The image that machines boot: that of the release, with the daemon's package installed in it. */
import { chmodSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { baseImage, type Image, imageFiles } from './base-image.ts';
import { cached, keyOf } from './cache.ts';
import { runProgram } from './host-program.ts';
import type { Suite } from './packages.ts';

const here = import.meta.dirname;
const buildFolder = join(dirname(dirname(here)), 'build');
const deadlineMs = 180_000;

/** The package that `npm run package` built last, or undefined when there is none. */
export function lastPackage(): string | undefined {
  try {
    const packages = readdirSync(buildFolder)
      .filter((name) => /^personad_.*\.deb$/.test(name))
      .map((name) => join(buildFolder, name));
    return packages.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  } catch {
    return undefined;
  }
}

/** The image for `suite` with `deb` and `more` packages in it: a new `deb` costs seconds. `say` hears about long work. */
export async function guestImage(
  suite: Suite,
  deb: string | undefined,
  say: (text: string) => void,
  more: readonly string[] = [],
): Promise<Image> {
  const base = await baseImage(suite, say, more);
  if (deb === undefined) {
    say('no package is built (npm run package): the machine is without the daemon');
    return base;
  }
  const key = keyOf(base.key, readFileSync(deb), readFileSync(join(here, 'install-package')));
  const folder = await cached(['guest', suite, ...more].join('-'), key, async (making) => {
    say(`installing ${basename(deb)} in the image of a Debian ${[suite, ...more].join('-')}`);
    chmodSync(making, 0o755);
    const { root } = imageFiles(making);
    await runProgram(['cp', '--sparse=always', '--reflink=auto', base.root, root], { deadlineMs });
    await runProgram([join(here, 'install-package'), root, deb], { deadlineMs, contained: true });
  });
  return { ...base, key, root: imageFiles(folder).root };
}
