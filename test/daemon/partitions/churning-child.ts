// Makes and removes a control group as fast as it can, until it is killed. Argument: the folder of the group.
import { mkdirSync, rmdirSync } from 'node:fs';

const [folder = ''] = process.argv.slice(2);
console.log('ready');
for (;;) {
  mkdirSync(folder);
  rmdirSync(folder);
}
