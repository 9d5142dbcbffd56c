import { readFileSync } from 'node:fs';
import { Script } from 'node:vm';

// Set by the build: the name of the program file, which is made from its content.
declare const PROGRAM: string;

/**
 * What is installed as `personactl`: starts the program from compiled code beside it, which saves a
 * third of its start. Code that another version of Node compiled is refused by V8; then, or without
 * the file, the program is compiled as always.
 */
function start(): void {
  const file = `${__dirname}/${PROGRAM}`;
  let cachedData: Buffer | undefined;
  try {
    cachedData = readFileSync(`${file}.code`);
  } catch {
    // Only slower.
  }
  const text = readFileSync(file, 'utf8');
  const program = new Script(text, { filename: file, ...(cachedData && { cachedData }) });
  program.runInThisContext()(require);
}

start();
