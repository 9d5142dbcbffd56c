import { existsSync } from 'node:fs';
import { managerRuns } from './unit-properties.ts';

/** Where an enabled unit of what comes before sleep is found (systemd.unit(5)). */
const wanted = ['/etc', '/run', '/usr/lib'].map(
  (folder) => `${folder}/systemd/system/sleep.target.wants/personad-sleep.service`,
);

/** True when the service manager runs our unit before this machine sleeps. */
export function closesBeforeSleep(): boolean {
  return managerRuns() && wanted.some((path) => existsSync(path));
}
