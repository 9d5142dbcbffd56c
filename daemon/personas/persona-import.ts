import type { Plan } from '../changes/change.ts';
import { type Given, lastSteps } from './persona-create.ts';
import { isAllowedBy } from './privileged.ts';
import type { PersonasRoom } from './room.ts';
import { staged } from './staging.ts';
import { stepKinds } from './tasks/steps.ts';

/** What is imported, and as what. */
export interface ImportParams {
  source: Given;
  /** Another name than the one in the file. */
  name?: string | undefined;
  allowPrivileged?: boolean | undefined;
}

/** The file itself, an image rebuilt from it, the file around that, and its layers. */
const copiesMax = 4;

/**
 * The change that imports a persona file. The file becomes an inode of the daemon's own before it is read; what no
 * trusted key signed is rebuilt.
 */
export function planImport(_room: PersonasRoom, params: ImportParams, ownerUid: number): Plan {
  const allowPrivileged = isAllowedBy(ownerUid, params.allowPrivileged);
  const { path, uploaded, bytes = 0 } = params.source;
  const file = { [staged.upload]: path };
  return {
    kind: 'persona.import',
    summary: params.name === undefined ? 'Import a persona' : `Import persona ${params.name}`,
    ownerUid,
    holds: ['shared:layers:all', ...(params.name === undefined ? [] : [`persona:${params.name}`])],
    tasks: [
      {
        kind: stepKinds.stage,
        params: uploaded ? { taken: file, copied: {} } : { taken: {}, copied: file },
      },
      { kind: stepKinds.read, params: { name: params.name ?? null } },
      { kind: stepKinds.difference, params: { input: null, allowPrivileged } },
      ...lastSteps,
    ],
    needs: { bytes: copiesMax * bytes },
  };
}
