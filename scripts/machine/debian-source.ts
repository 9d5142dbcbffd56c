import { readFileSync } from 'node:fs';
import { runProgram } from './host-program.ts';
import type { Suite } from './packages.ts';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * The line of an apt source for `suite`, on the server that this machine gets its own Debian from.
 * Throws when no such server is configured.
 */
export async function debianSource(suite: Suite): Promise<string> {
  const own = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const format = '$(REPO_URI) $(CODENAME) $(COMPONENT) $(LABEL)';
  const listing = await runProgram(
    ['apt-get', 'indextargets', '--format', format, 'Created-By: Packages'],
    { deadlineMs: 30_000 },
  );
  const uri = listing
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, codename, component, label]) => {
      return codename === own && component === 'main' && label === 'Debian';
    })?.[0];
  if (uri === undefined)
    throw new Error(`no apt source of Debian ${own} is configured: run apt-get update, or add one`);
  return `deb [signed-by=${keyring}] ${uri} ${suite} main`;
}
