import { readFileSync } from 'node:fs';

/** Set by the build. */
declare const PERSONA_VERSION: string | undefined;

/** The version of this tool. */
export function toolVersion(): string {
  if (typeof PERSONA_VERSION === 'string') return PERSONA_VERSION;
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
