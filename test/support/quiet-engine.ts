import { type Engine, startEngine } from '../../daemon/changes/engine.ts';
import { type Faults, noFaults } from '../../daemon/changes/faults.ts';
import { journalOver } from '../../daemon/changes/journal.ts';
import { kindsOf } from '../../daemon/changes/kinds.ts';
import { silentLog } from '../../daemon/changes/log.ts';
import type { AnyTask } from '../../daemon/changes/task.ts';
import { limits } from '../../daemon/config/limits.ts';
import type { Store } from '../../daemon/store/store.ts';

/** An engine over these tasks with room for everything and nobody to tell; not yet recovered. */
export function quietEngine(
  store: Store,
  tasks: readonly AnyTask[],
  faults: Faults = noFaults,
): Engine {
  const now = () => Date.now();
  return startEngine({
    kinds: kindsOf(tasks),
    journal: journalOver(store, faults, now),
    faults,
    log: silentLog,
    limits,
    now,
    space: () => undefined,
    accountOf: (uid) => uid,
  });
}
