// Runs the change of a subject and dies by SIGKILL at a fault point: MODULE NAME FOLDER POINT.
import { dieAt, type Subject } from './proofs.ts';

const [module = '', name = '', folder = '', at = ''] = process.argv.slice(2);
const subjects = (await import(module)) as Record<string, Subject>;
await dieAt(subjects[name]!, folder, Number(at));
