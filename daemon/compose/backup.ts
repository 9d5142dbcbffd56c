import { PersonaError } from '../../ipc/errors.ts';
import type { Rooms } from '../api/rooms.ts';
import { Backups } from '../backup/backup.ts';
import { planRestore, restoreTasks } from '../backup/restore.ts';
import type { AnyTask } from '../changes/task.ts';
import type { Paths } from '../config/paths.ts';
import { wallMs } from '../kernel/clock.ts';
import type { UpperPlaces } from '../personas/upper-places.ts';
import type { Store } from '../store/store.ts';
import { holdsThings } from '../system/mark.ts';

/** What backups and restores are made from. */
export interface BackupParts {
  paths: Paths;
  store: Store;
  version: string;
  /** A restored state waits: nothing more is changed, and the daemon starts anew. */
  takenUp(): void;
}

/** Of a disk that has to wake up, or a server that is restarted. */
const answerMs = 60_000;

/** The steps and methods of backup and restore. */
export function openBackup(
  { paths, store, version, takenUp }: BackupParts,
  places: UpperPlaces,
): {
  tasks: AnyTask[];
  methods: Pick<Rooms, 'system.backup' | 'system.restore'>;
} {
  const backups = new Backups({
    paths,
    store,
    version,
    folderOf: (slot, volume) => places.reached(slot, volume),
    now: wallMs,
  });
  const inUse = () => holdsThings(paths.state);
  const room = { paths, inUse, takenUp, now: wallMs, answerMs };
  return {
    tasks: [backups.task(), ...restoreTasks(room)],
    methods: {
      'system.backup': ({ ticket }, { caller, dryRun, output }) => {
        if (ticket === undefined && !dryRun)
          throw new PersonaError('bad-value', { name: 'ticket', reason: 'it is missing' });
        const outlet = dryRun || ticket === undefined ? undefined : output(ticket);
        return { plan: backups.plan(outlet, caller.uid) };
      },
      'system.restore': async (params, { caller }) => ({
        plan: await planRestore(room, params, caller.uid),
      }),
    },
  };
}
