import { mkdirSync } from 'node:fs';
import type { Json } from '../../daemon/changes/task.ts';
import type { Daemon } from '../../daemon/wiring.ts';
import { type Asked, mustDo, rootRequest } from '../support/silent-daemon.ts';
import { silentSubject, startForProof } from './silent-subjects.ts';

/** What is said of applications, by whom; times are left out. */
const observe = ({ store }: Daemon): Promise<Json> =>
  store.all(
    'SELECT owner, app, fact, value FROM application_facts ORDER BY owner, app, fact',
  ) as unknown as Promise<Json>;

const set: Asked = (methods) =>
  methods['app.set'](
    { app: 'paint', set: { memory: 7, data: ['~/.paint'] }, unset: ['cpu'] },
    rootRequest,
  );

/** Facts that are said anew, one that changes, and one that is taken back, beside one that stays. */
export const appSet = silentSubject(set, observe, {
  async prepare(folder) {
    mkdirSync(folder, { recursive: true });
    const daemon = await startForProof(folder);
    const before = { memory: 5, cpu: 'high' as const, lossOk: true };
    await mustDo(daemon, (methods) =>
      methods['app.set']({ app: 'paint', set: before }, rootRequest),
    );
    await daemon.stop();
  },
});
