import { PersonaError } from '../../ipc/errors.ts';
import { ospMembers } from './osp-members.ts';

/** One application that a persona wants installed. */
export interface ListedApplication {
  name: string;
  version: string;
  parameters: string[];
}

const applicationsMax = 10_000;
const lineBytesMax = 4096;

/**
 * Reads application_list.txt: one application a line, as NAME VERSION [PARAMETER...]. Words are
 * parted by spaces or tabs; a '#' at the start of a word begins a comment.
 * @throws PersonaError 'bad-persona' with the number of the line.
 */
export function parseApplicationList(bytes: Buffer): ListedApplication[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw bad('is not UTF-8');
  }
  const applications: ListedApplication[] = [];
  text.split(/\r?\n/).forEach((line, index) => {
    const words = line.replace(/(^|[ \t])#.*$/, '').match(/[^ \t]+/g);
    if (words === null) return;
    applications.push(applicationOf(words, line, index + 1));
    if (applications.length > applicationsMax)
      throw bad(`lists over ${applicationsMax} applications`);
  });
  return applications;
}

function applicationOf(words: string[], line: string, number: number): ListedApplication {
  const [name = '', version, ...parameters] = words;
  if (line.length > lineBytesMax) throw bad(`has a line ${number} that is too long`);
  if (/[\0-\x1f\x7f]/.test(line.replaceAll('\t', ' '))) {
    throw bad(`has a control character in line ${number}`);
  }
  // No leading '-': a name must never be taken for an option.
  if (!/^[A-Za-z0-9][A-Za-z0-9+._:/@-]*$/.test(name))
    throw bad(`has a wrong name in line ${number}`);
  if (version === undefined) throw bad(`lacks the version in line ${number}`);
  if (!/^[A-Za-z0-9*][A-Za-z0-9+.~:*_-]*$/.test(version)) {
    throw bad(`has a wrong version in line ${number}`);
  }
  return { name, version, parameters };
}

/** Refuses what this version does not realise. @throws PersonaError 'not-supported'. */
export function refuseApplications(applications: readonly ListedApplication[]): void {
  const [first] = applications;
  if (first === undefined) return;
  const more = applications.length > 1 ? ` and ${applications.length - 1} more` : '';
  throw new PersonaError('not-supported', {
    what: `installing applications (${ospMembers.applications} lists ${first.name}${more})`,
  });
}

function bad(reason: string): PersonaError {
  return new PersonaError('bad-persona', `${ospMembers.applications} ${reason}`);
}
