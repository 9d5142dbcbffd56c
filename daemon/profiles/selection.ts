import { formatSize } from '../../ipc/values.ts';
import {
  type Application,
  applicationIdPattern,
  atLeast,
  type CpuNeed,
  cpuNeeds,
  type FactName,
  factOf,
  type Known,
  type Origin,
  type Profile,
  type Source,
} from './application.ts';
import { gainOf, shareText } from './gain.ts';
import type { Recognised } from './identity.ts';
import { type ServedFolder, servedFolders } from './served.ts';

/** What a profile is chosen from. */
export interface Question {
  application: Application;
  recognised: Recognised;
  /** Why a profile cannot be had on this machine now; absent where it can. */
  obstacles: { fast?: string; secure?: string };
  /** The profile that the caller asks for, this once. */
  wish?: Profile;
}

/** The rule that decided. */
export type Rule =
  | 'required'
  | 'asked'
  | 'name-only'
  | 'unknown'
  | 'stated'
  | 'sensitive'
  | 'measured'
  | 'suggested'
  | 'unmeasured'
  | 'no-gain'
  | 'nothing-said';

/** A fact that the choice went by, as text. */
export interface Evidence extends Origin {
  fact: FactName;
  value: string;
}

/** How an application is to run, and why. */
export interface Choice {
  profile: Profile;
  rule: Rule;
  why: string;
  /** Why it must not be started at all: what it needs cannot be had. */
  refused?: string;
  evidence: Evidence[];
  /** Profiles that somebody proposes who may not decide. */
  suggestions: { profile: Profile; why: string }[];
  /** What would lead to another choice. */
  wouldChange: string[];
  cpu: CpuNeed;
  /** Memory that it is expected to use at most. */
  memoryBytes?: number;
  /** For `fast`: folders that may lie in a fast partition and be written back. */
  served: ServedFolder[];
  /** For `fast`: files that are worth being kept in memory. */
  pinned: string[];
}

/** A proposal by who is less sure is only shown. */
const CONFIDENCE_LEAST = 0.5;

const facts = [
  'profile',
  'security',
  'cpu',
  'memory',
  'lossOk',
  'data',
  'cache',
  'temporary',
  'diskWait',
] as const;
/** Those that count on the word of who may decide only. */
const grantFacts = ['grants', 'show', 'share', 'enclave'] as const;

function textOf(fact: FactName, value: unknown): string {
  if (fact === 'diskWait') return `at most ${shareText(value as number)}`;
  if (typeof value === 'number') return formatSize(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return Array.isArray(value) ? value.join(', ') : `${value as string}`;
}

/** A fact as evidence. */
export function evidenceOf(fact: FactName, known: Known<unknown>): Evidence {
  const { source, from, confidence, dateMs } = known;
  return { fact, value: textOf(fact, known.value), source, from, confidence, dateMs };
}

/** Who may decide what is lost, and what may not be started. */
const mayDecide = (known: Origin | undefined): boolean =>
  known !== undefined && atLeast(known.source, 'user');

/** Whether somebody who may decide says how it is to run. */
export const isStated = (application: Application): boolean =>
  mayDecide(factOf(application, 'profile')) || mayDecide(factOf(application, 'security'));

/** Who requires that it is kept apart, and who says that it is; undefined where nobody does who may decide. */
function keptApartBy(application: Application): { required?: Source; said?: Source } {
  const security = factOf(application, 'security');
  const profile = factOf(application, 'profile');
  return {
    ...(security?.value === 'required' && mayDecide(security) && { required: security.source }),
    ...(profile?.value === 'secure' && mayDecide(profile) && { said: profile.source }),
  };
}

/** How strictly it is kept apart, from 0: nothing undoes what is `required`, a wish what is `secure`; and the administrator comes before the user. */
export function strictness(application: Application): number {
  const { required, said } = keptApartBy(application);
  if (required !== undefined) return required === 'admin' ? 4 : 3;
  if (said !== undefined) return said === 'admin' ? 2 : 1;
  return 0;
}

export const isKeptApartByAdmin = (application: Application): boolean =>
  Object.values(keptApartBy(application)).includes('admin');

const notItsOwn = 'this program is none of its executables';

type Decided = Pick<Choice, 'profile' | 'rule' | 'why'> & { refused?: string };

/** A file can be called like a command: only what is an id is put into one that people copy. */
const setCommand = ({ id }: Application, words: string): string =>
  `\`personactl app set ${applicationIdPattern.test(id) ? id : 'APP'} ${words}\``;

/** `secure` or nothing; undefined where nobody who may asks for that. */
function required({ application, recognised, obstacles, wish }: Question): Decided | undefined {
  const security = factOf(application, 'security');
  if (security?.value !== 'required' || !mayDecide(security)) return undefined;
  const decided = {
    profile: 'secure',
    rule: 'required',
    why: `${security.from} requires that it runs apart from everything else`,
  } as const;
  const refused =
    wish !== undefined && wish !== 'secure'
      ? `it was asked to run ${wish}`
      : recognised.by !== 'executable'
        ? notItsOwn
        : obstacles.secure;
  return refused === undefined ? decided : { ...decided, refused };
}

/** What the caller asks for, or what is left of it. Who asks for what is stated anyway gets it by that word. */
function asked({ application, recognised, obstacles, wish }: Question): Decided | undefined {
  if (wish === undefined) return undefined;
  const isSaid = recognised.by === 'executable' && keptApartBy(application).said !== undefined;
  if (wish === 'secure' && isSaid) return undefined;
  const decided = { profile: wish, rule: 'asked', why: `the caller asked for ${wish}` } as const;
  if (wish === 'secure' && obstacles.secure !== undefined)
    return { ...decided, refused: obstacles.secure };
  return withoutObstacle(toldOfGain(decided, application), obstacles);
}

/** Who may decide is told that `fast` gains nothing, and has it. */
function toldOfGain(decided: Decided, application: Application): Decided {
  if (decided.profile !== 'fast') return decided;
  const gain = gainOf(application);
  return gain.answer === 'no-gain' ? { ...decided, why: `${decided.why}; ${gain.why}` } : decided;
}

/** `fast` is given up where it cannot be had: nothing but speed is lost. */
function withoutObstacle(decided: Decided, { fast }: Question['obstacles']): Decided {
  if (decided.profile !== 'fast' || fast === undefined) return decided;
  return { ...decided, profile: 'standard', why: `${decided.why}, and it cannot be had: ${fast}` };
}

/** A name can be given to any program: it leads to nothing but `standard`, and never out of `secure`. */
function unrecognised({ application, recognised }: Question): Decided | undefined {
  if (recognised.by === 'executable') return undefined;
  const rule = 'name-only';
  if (recognised.by === 'nothing')
    return { profile: 'standard', rule: 'unknown', why: 'nothing is known of this program' };
  const profile = factOf(application, 'profile');
  if (profile?.value === 'secure' && mayDecide(profile))
    return { profile: 'secure', rule, why: `${profile.from} says secure`, refused: notItsOwn };
  const why = `it is called ${recognised.name}, which can be said of any program: it is none of the executables of ${application.id}`;
  return { profile: 'standard', rule, why };
}

/** The word of an administrator or the user; on two, that of the higher, and security first. A stated `secure` is never less for being called sensitive. */
function stated({ application, obstacles }: Question): Decided | undefined {
  const profile = factOf(application, 'profile');
  const security = factOf(application, 'security');
  const said = mayDecide(profile) ? profile : undefined;
  const apart = security?.value === 'sensitive' && mayDecide(security) ? security : undefined;
  const counts = said === undefined || (apart && atLeast(apart.source, said.source));
  if (apart && counts && said?.value !== 'secure') {
    const why = `${apart.from} calls it sensitive`;
    if (obstacles.secure === undefined) return { profile: 'secure', rule: 'sensitive', why };
    const instead = `${why}, and secure cannot be had: ${obstacles.secure}`;
    return { profile: 'standard', rule: 'sensitive', why: instead };
  }
  if (said === undefined) return undefined;
  const decided = {
    profile: said.value,
    rule: 'stated',
    why: `${said.from} says ${said.value}`,
  } as const;
  if (said.value === 'secure' && obstacles.secure !== undefined)
    return { ...decided, refused: obstacles.secure };
  return withoutObstacle(toldOfGain(decided, application), obstacles);
}

/** What others propose, as far as it can do no harm: `fast` loses nothing of theirs (see `served.ts`), and is followed where it may gain something. */
function proposed({ application, obstacles }: Question): Decided | undefined {
  const profile = factOf(application, 'profile');
  if (profile === undefined || profile.value === 'secure') return undefined;
  if (profile.confidence < CONFIDENCE_LEAST) return undefined;
  const rule = profile.source === 'measured' ? 'measured' : 'suggested';
  const why = `${profile.from} proposes ${profile.value}`;
  const decided = withoutObstacle({ profile: profile.value, rule, why }, obstacles);
  if (decided.profile !== 'fast' || servedFolders(application).length === 0) return decided;
  const gain = gainOf(application);
  return gain.answer === 'gain'
    ? { ...decided, why: `${why}; ${gain.why}` }
    : { profile: 'standard', rule: gain.answer, why: `${why}, but ${gain.why}` };
}

/** Who writes his own metadata cannot raise himself: neither by a need, nor by calling a program of his an application of others. */
function cpuOf({ application, recognised }: Question): CpuNeed {
  const { cpu = [], executables = [] } = application.facts;
  const isIts =
    recognised.by === 'executable' &&
    executables.some(({ source, value }) => source !== 'user' && value.includes(recognised.path));
  const others = isIts ? cpu.find(({ source }) => source !== 'user')?.value : undefined;
  const most = Math.max(cpuNeeds.indexOf(others ?? 'normal'), cpuNeeds.indexOf('normal'));
  return cpuNeeds[Math.min(cpuNeeds.indexOf(cpu[0]?.value ?? 'normal'), most)] ?? 'normal';
}

function suggestionsOf({ application }: Question, { profile }: Decided): Choice['suggestions'] {
  const found: Choice['suggestions'] = [];
  const add = (to: Profile, why: string) => {
    if (to !== profile && !found.some((one) => one.profile === to))
      found.push({ profile: to, why });
  };
  for (const { value, from } of application.facts.profile ?? []) add(value, `${from} proposes it`);
  for (const { value, from } of application.facts.security ?? [])
    if (value !== 'normal') add('secure', `${from} calls it ${value}`);
  return found;
}

function wouldChangeOf(question: Question, decided: Decided, served: ServedFolder[]): string[] {
  const { application, recognised } = question;
  const { profile, rule } = decided;
  const lines: string[] = [];
  const said = factOf(application, rule === 'required' ? 'security' : 'profile');
  const executables = factOf(application, 'executables')?.value ?? [];
  if (recognised.by !== 'executable')
    lines.push(
      executables.length === 0
        ? `an executable of it that is known: ${setCommand(application, '--executable PATH')}`
        : `the program being one of ${executables.join(', ')}`,
    );
  if (rule === 'no-gain') lines.push('runs that wait longer for the disk');
  if (rule === 'unmeasured') lines.push('more runs of it, each of half a second or longer');
  if (rule === 'asked') lines.push('not asking for a profile');
  if (said?.source === 'admin' && (rule === 'stated' || rule === 'required'))
    lines.push(`another word of the administrator: ${said.from}`);
  else if (rule === 'required') lines.push(setCommand(application, '--security normal'));
  else if (recognised.by === 'executable') lines.push(setCommand(application, '--profile PROFILE'));
  const data = factOf(application, 'data')?.value ?? [];
  if (profile === 'fast' && data.some((path) => !served.some((one) => one.path === path)))
    lines.push(
      `${data.join(', ')} in memory too, at the risk of half a minute's work: ${setCommand(application, '--loss-ok yes')}`,
    );
  return lines;
}

/**
 * The profile of a program that starts, with the rule, the evidence and what would change it. Pure. What can lose data, and what keeps
 * a program from starting, is chosen only on the word of an administrator or the user.
 */
export function choose(question: Question): Choice {
  const { application, recognised } = question;
  const decided = required(question) ??
    asked(question) ??
    unrecognised(question) ??
    stated(question) ??
    proposed(question) ?? {
      profile: 'standard',
      rule: 'nothing-said',
      why: 'nobody who may decide says anything else',
    };
  const trusted = recognised.by === 'executable';
  const fast = decided.profile === 'fast' && decided.refused === undefined && trusted;
  const served = fast ? servedFolders(application) : [];
  const memory = factOf(application, 'memory');
  return {
    ...decided,
    evidence: [
      ...facts.flatMap((fact) => {
        const known = factOf(application, fact);
        return known === undefined ? [] : [evidenceOf(fact, known)];
      }),
      ...grantFacts.flatMap((fact) => {
        const known = factOf(application, fact);
        return known !== undefined && mayDecide(known) ? [evidenceOf(fact, known)] : [];
      }),
    ],
    suggestions: suggestionsOf(question, decided),
    wouldChange: wouldChangeOf(question, decided, served),
    cpu: cpuOf(question),
    ...(memory === undefined ? {} : { memoryBytes: memory.value }),
    served,
    pinned: fast ? [recognised.path] : [],
  };
}
