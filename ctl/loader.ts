import { readFileSync } from 'node:fs';
import { Script } from 'node:vm';

// Set by the build: the names of the program files, which are made from their content.
declare const PROGRAM: string;
declare const STATUS_PROGRAM: string;

/**
 * What is installed as `personactl`: starts one of the two programs from compiled code beside it, which saves a
 * third of its start. Code that another version of Node compiled is refused by V8; then, or without
 * the file, the program is compiled as always.
 */
function start(): void {
  const [, , word, form, more] = process.argv;
  const status = word === 'status' && (form ?? '--json') === '--json' && more === undefined;
  const file = `${__dirname}/${status ? STATUS_PROGRAM : PROGRAM}`;
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
