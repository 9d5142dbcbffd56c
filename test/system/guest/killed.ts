/**
 * Runs in a guest: kills a process (SIGKILL), and prints how long it took until files had the values of before it, in milliseconds.
 * Arguments: the pid, then `FILE=VALUE` for each. Ends with status 1 when they have not after a minute.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const [, , pid, ...files] = process.argv;
const wanted = files.map((one) => one.split('='));
const limitMs = 60_000;
const isBack = () =>
  wanted.every(([file = '', value]) => readFileSync(file, 'utf8').trim() === value);

if (isBack()) throw new Error('nothing is set');
const begun = performance.now();
process.kill(Number(pid), 'SIGKILL');
while (!isBack() && performance.now() - begun < limitMs) await pause(1);
if (!isBack()) throw new Error(`not within ${limitMs} ms`);
process.stdout.write(JSON.stringify(performance.now() - begun));
