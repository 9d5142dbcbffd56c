import { PersonaError } from '../../ipc/errors.ts';
import { parseFragment } from '../config/fragments.ts';
import { applicationIdPattern, type Origin } from './application.ts';
import { BadFact, checkFact, factWritten, statableNames, writtenName } from './fact-values.ts';
import type { Found, Fragment, SourceText } from './fragment.ts';

/**
 * Understands a file of `apps.d`: a section for each application, its facts as keys. What is wrong is left out and told with its line; what
 * is right counts. Pure.
 */
export function parseApplicationFile(
  { file, text, dateMs }: SourceText,
  { source, confidence }: Pick<Origin, 'source' | 'confidence'>,
): Found {
  const found: Found = { fragments: [], problems: [] };
  const byId = new Map<string, Fragment>();
  for (const { key, value, origin } of written(text, file, found)) {
    const at = key.lastIndexOf('.');
    const id = key.slice(0, at);
    const name = factWritten(key.slice(at + 1));
    const refuse = (reason: string) => void found.problems.push({ from: origin, text: reason });
    if (!applicationIdPattern.test(id)) refuse(`${JSON.stringify(id)} is not an application's id`);
    else if (name === undefined)
      refuse(
        `${key.slice(at + 1)} is no fact; there are: ${statableNames.map(writtenName).join(', ')}`,
      );
    else {
      try {
        const known = byId.get(id);
        const values = { ...known?.values, [name]: checkFact(name, value) };
        const from = known?.from ?? origin;
        byId.set(id, { of: { id }, source, confidence, from, dateMs, values });
      } catch (error) {
        if (!(error instanceof BadFact)) throw error;
        refuse(`${key.slice(at + 1)} ${error.message}`);
      }
    }
  }
  found.fragments.push(...byId.values());
  return found;
}

function written(text: string, file: string, { problems }: Found) {
  try {
    return parseFragment(text, file);
  } catch (error) {
    if (!(error instanceof PersonaError)) throw error;
    const reason = String(error.detail.reason ?? error.message);
    const [, from = file, said = reason] = /^(.*?:\d+): (.*)$/s.exec(reason) ?? [];
    problems.push({ from, text: said });
    return [];
  }
}
