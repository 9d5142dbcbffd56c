import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Answered } from './tool.ts';

/**
 * Compares what the tool answered with the file golden/NAME. UPDATE_GOLDEN=1 writes the files instead:
 * then read the difference before it is committed.
 */
export function golden(t: ExecutionContext, name: string, { status, out, err }: Answered): void {
  const path = join(import.meta.dirname, 'golden', `${name}.txt`);
  // Escape sequences are written so that the files can be read.
  const text = `${out}${err === '' ? '' : `--- stderr\n${err}`}--- status ${status}\n`.replaceAll(
    '\x1b',
    '^[',
  );
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, text);
  t.true(existsSync(path), `golden/${name}.txt is missing`);
  t.is(text, readFileSync(path, 'utf8'));
}
