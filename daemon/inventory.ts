/**
 * The program that finds out what the machine is made of. Its standard output is one JSON object (`MachineFacts`). It starts
 * shells and programs of the system, so it drops all rights as soon as nothing needs them any more: only the firmware's
 * tables, which tell of modules of memory, are root's.
 */
import { writeFileSync } from 'node:fs';
import { becomeCaller } from './kernel/become-caller.ts';
import { childIds } from './kernel/child-ids.ts';
import { machineFacts, memoryModules } from './kernel/system.ts';

const modules = await memoryModules();
becomeCaller({ uid: childIds.inventory, gid: childIds.inventory, groups: [] });
writeFileSync(1, JSON.stringify(await machineFacts(modules)));
