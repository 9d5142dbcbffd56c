import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A private folder of one test, removed with it. Nothing may be mounted inside at its end. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
