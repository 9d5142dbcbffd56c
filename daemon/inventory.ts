/**
 * The program that finds out what the machine is made of. Its standard output is one JSON object (`MachineFacts`). It starts
 * shells and programs of the system, so it drops all rights as soon as nothing needs them any more: only the firmware's
 * tables, which tell of modules of memory, are root's.
 */
import { writeFileSync } from 'node:fs';
import { becomeCaller } from './kernel/become-caller.ts';
import { machineFacts, memoryModules } from './kernel/system.ts';

/** An id no person has. */
const nobody = { uid: 65_533, gid: 65_533, groups: [] };

const modules = await memoryModules();
becomeCaller(nobody);
writeFileSync(1, JSON.stringify(await machineFacts(modules)));
