import { readFileSync } from 'node:fs';

declare const PERSONA_VERSION: string | undefined;

/** Version of this program: put in by the bundler, read from package.json in development. */
export const version: string =
  typeof PERSONA_VERSION === 'string'
    ? PERSONA_VERSION
    : String(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version);
