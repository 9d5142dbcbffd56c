import { processIo } from './io.ts';
import { endWith } from './perform.ts';
import { run } from './program.ts';

const io = processIo();

void endWith(run(process.argv.slice(2), io), io);
