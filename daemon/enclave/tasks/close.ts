import { PersonaError } from '../../../ipc/errors.ts';
import { escapeText } from '../../../ipc/values.ts';
import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import type { Inside } from '../../kernel/processes.ts';
import { markOpened } from '../enclave-rows.ts';
import { told } from '../refusals.ts';
import { type EnclaveRoom, folderOf, type Planned, plannedOf } from '../room.ts';
import { hideVolume, insideOf, putAside, putBack } from '../volume.ts';

/** What the steps of a closing are given. */
export interface CloseParams extends Planned {
  /** Also while programs use it: they keep what they have open. */
  force?: boolean;
}

/** Names in an error. */
const NAMED_MAX = 5;

function refuse(enclave: string, inside: Inside[]): never {
  const who = inside.slice(0, NAMED_MAX).map(({ pid, name }) => `${escapeText(name)}, pid ${pid}`);
  const more = inside.length > NAMED_MAX ? [`and ${inside.length - NAMED_MAX} more`] : [];
  throw new PersonaError('enclave-busy', { enclave, who: [...who, ...more].join('; ') });
}

/** Puts an enclave that nobody uses, or that is to be closed anyway, where nobody can begin to use it. */
export function putAsideTask(room: EnclaveRoom): AnyTask {
  return defineTask<CloseParams>({
    kind: 'enclaves.put-aside',
    summary: ({ enclave, force }) =>
      force === true
        ? `take ${enclave} out of reach, whoever uses it`
        : `see that nobody uses ${enclave}, and take it out of reach`,
    async do(context, { force = false, ...planned }) {
      const { name, opened, owner } = await plannedOf(room, planned);
      if (opened === undefined)
        throw new PersonaError('enclave-state', {
          action: 'close',
          enclave: name,
          state: 'closed',
        });
      const see = async () => {
        const inside = force ? [] : await insideOf(room, { name, owner });
        if (inside.length > 0) refuse(name, inside);
      };
      await see();
      putAside(room, name);
      await context.fault('aside');
      // Who came in between the look and the move.
      await see();
    },
    async undo(_, { enclave }) {
      putBack(room, enclave);
    },
  });
}

/** Records that it is closed. */
export function commitCloseTask(): AnyTask {
  return defineTask<CloseParams>({
    kind: 'enclaves.commit-close',
    summary: ({ enclave }) => `record that ${enclave} is closed`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(_, { enclave }) {
      return { record: (tx) => markOpened(tx, enclave, undefined) };
    },
  });
}

/** Takes it off and its key out of the kernel. */
export function hideVolumeTask(room: EnclaveRoom): AnyTask {
  return defineTask<CloseParams>({
    kind: 'enclaves.hide-volume',
    summary: ({ enclave }) => `take ${enclave} off, and its key out of the kernel`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(_, planned) {
      const enclave = await plannedOf(room, planned);
      const { name } = enclave;
      const held = await told(folderOf(room, enclave.id), () => hideVolume(room, enclave));
      room.problems.delete(name);
      if (held) room.held.add(name);
      return { result: { enclave: name, held } satisfies Json };
    },
  });
}
