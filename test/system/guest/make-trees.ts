/** Runs in a guest: makes the root trees `base`, `a`, `b` and `c` in the folder that is its argument; each has its name in etc/name. */
import { changedCopy, programTree } from '../../security/trees.ts';

const [, , folder = ''] = process.argv;
const base = programTree(folder, 'base');
for (const name of ['a', 'b', 'c']) changedCopy(base, folder, name);
