/**
 * Runs in a guest: reads one file again and again until it is told to stop (SIGTERM), then writes down how it went.
 * Arguments: the file, where to write.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const [, , file = '', report = ''] = process.argv;
const readsInTurn = 100;
/** Two emulated processors have other work, too. */
const restMs = 3;
const seen: string[] = [];
const failures: string[] = [];
let reads = 0;
let told = false;
process.on('SIGTERM', () => {
  told = true;
});

function read(): void {
  reads += 1;
  try {
    const text = readFileSync(file, 'utf8');
    if (text !== seen.at(-1)) seen.push(text);
  } catch (error) {
    failures.push(String(error));
  }
}

function tell(path: string): void {
  writeFileSync(`${path}.new`, JSON.stringify({ reads, seen, failures: failures.slice(0, 20) }));
  renameSync(`${path}.new`, path);
}

read();
tell(`${report}.begun`);
while (!told) {
  for (let count = 0; count < readsInTurn; count += 1) read();
  await pause(restMs);
}
tell(report);
