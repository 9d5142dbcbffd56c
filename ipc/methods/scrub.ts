import * as v from 'valibot';
import { count } from './values.ts';

/** How far a scrub is. */
export const scrubPage = v.strictObject({
  /** Somebody has asked for it; otherwise it came by itself. */
  asked: v.boolean(),
  files: count,
  filesDone: count,
  bytes: count,
  bytesDone: count,
  /** It stands aside while a swap runs. */
  paused: v.boolean(),
});
