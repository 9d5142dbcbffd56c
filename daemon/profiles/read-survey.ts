import type { Child } from '../kernel/exec.ts';
import type { Source } from './application.ts';
import type { Survey } from './survey.ts';
import { Told } from './told.ts';

/** Longest line of a surveyor: what its entries at one time can be. */
const LINE_CHARS_MAX = 32 * 1024 ** 2;
/** All that it may say. */
const ALL_CHARS_MAX = 256 * 1024 ** 2;

/**
 * Reads what a surveyor says to its end. Throws when it fails, says more than it may, or says what is no survey; it is ended then. `allowed`: the
 * sources that it may speak for.
 */
export async function readSurvey(child: Child, allowed: readonly Source[]): Promise<Survey> {
  const told = new Told(allowed);
  let rest = '';
  let chars = 0;
  try {
    child.stdout.setEncoding('utf8');
    for await (const piece of child.stdout as AsyncIterable<string>) {
      chars += piece.length;
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      if (chars > ALL_CHARS_MAX || rest.length > LINE_CHARS_MAX)
        throw new Error('the surveyor says more than it may');
      for (const line of lines) told.line(line);
    }
    await child.done;
    return told.survey;
  } finally {
    child.kill();
  }
}
