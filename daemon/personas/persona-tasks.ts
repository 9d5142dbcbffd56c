import type { AnyTask } from '../changes/task.ts';
import type { PersonasRoom } from './room.ts';
import { buildRuntime, buildSeed } from './tasks/build-added.ts';
import { buildDifference, buildWanted } from './tasks/build-difference.ts';
import { commitPersona } from './tasks/commit-persona.ts';
import { finishPersona } from './tasks/finish-persona.ts';
import { keyTasks } from './tasks/key-tasks.ts';
import { prepareMembers } from './tasks/prepare-members.ts';
import { readFile } from './tasks/read-file.ts';
import { forgetPersona, removePersonaFiles } from './tasks/remove-persona.ts';
import { stageInputs } from './tasks/stage-inputs.ts';
import { verifyPersona } from './tasks/verify-persona.ts';
import { writeFile } from './tasks/write-file.ts';

/** Every step of changes of personas and keys, for the engine's registry. */
export function personaTasks(room: PersonasRoom): AnyTask[] {
  return [
    stageInputs(room),
    prepareMembers(room),
    readFile(room),
    buildWanted(room),
    buildDifference(room),
    buildSeed(room),
    buildRuntime(room),
    writeFile(room),
    commitPersona(room),
    finishPersona(room),
    verifyPersona(room),
    forgetPersona(room),
    removePersonaFiles(room),
    ...keyTasks(room),
  ];
}
