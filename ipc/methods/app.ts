import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { executable, grantWord, applicationId as id, launchProfile as profile } from './launch.ts';
import { count, name, uid } from './values.ts';

const source = v.picklist(['admin', 'user', 'measured', 'imported', 'category']);
const statable = [
  'name',
  'categories',
  'profile',
  'cpu',
  'memory',
  'storage',
  'dependencies',
  'security',
  'data',
  'cache',
  'temporary',
  'lossOk',
  'grants',
  'show',
  'share',
  'enclave',
  'executables',
] as const;
/** What may be said of an application, and what is only measured. */
const fact = v.picklist([
  ...statable,
  'typicalMemory',
  'processors',
  'coldRead',
  'startTime',
  'syncRate',
  'diskWait',
]);
const text = v.pipe(v.string(), v.minLength(1), v.maxLength(512));
const texts = v.pipe(v.array(text), v.maxLength(64));

/** Where something that is known is from. */
const origin = {
  source,
  from: v.string(),
  /** 0 to 1: how sure the source can be. */
  confidence: v.number(),
  dateMs: count,
};

/** What may be said of an application. Sizes in bytes; folders begin with `~/`. */
const facts = v.strictObject({
  name: v.optional(text),
  categories: v.optional(texts),
  profile: v.optional(profile),
  cpu: v.optional(v.picklist(['background', 'normal', 'high'])),
  memory: v.optional(count),
  storage: v.optional(count),
  dependencies: v.optional(texts),
  security: v.optional(v.picklist(['normal', 'sensitive', 'required'])),
  data: v.optional(texts),
  cache: v.optional(texts),
  temporary: v.optional(texts),
  lossOk: v.optional(v.boolean()),
  /** What it has when it is kept apart: things of the session, folders to read, folders to write; an enclave as home. */
  grants: v.optional(v.pipe(v.array(grantWord), v.maxLength(16))),
  show: v.optional(texts),
  share: v.optional(texts),
  enclave: v.optional(name),
  executables: v.optional(texts),
});

/** One fact: of all that is said of it, the first counts. Bytes, milliseconds, processors. */
const knownFact = v.strictObject({
  fact,
  value: v.union([v.string(), v.number(), v.boolean(), v.array(v.string())]),
  ...origin,
});

/** An application with all that is said of it. */
export const applicationPage = v.strictObject({ id: v.string(), facts: v.array(knownFact) });

/** An application in a list. */
export const applicationLine = v.strictObject({
  id: v.string(),
  name: v.optional(v.string()),
  /** How it runs when one of its executables is started. */
  profile,
  rule: v.string(),
  /** It must not be started. */
  refused: v.optional(v.string()),
  executables: v.array(v.string()),
});

/** Why an application runs as it does. */
export const explanation = v.strictObject({
  id: v.string(),
  recognised: v.strictObject({
    by: v.picklist(['executable', 'name', 'nothing']),
    path: v.optional(v.string()),
    package: v.optional(v.string()),
  }),
  profile,
  rule: v.string(),
  why: v.string(),
  refused: v.optional(v.string()),
  evidence: v.array(v.strictObject({ fact, value: v.string(), ...origin })),
  /** What runs of it by the caller have come to. */
  measured: v.array(knownFact),
  suggestions: v.array(v.strictObject({ profile, why: v.string() })),
  wouldChange: v.array(v.string()),
  cpu: v.picklist(['background', 'normal', 'high']),
  memoryBytes: v.optional(count),
  served: v.array(
    v.strictObject({
      path: v.string(),
      holds: v.picklist(['data', 'cache', 'temporary']),
      why: v.string(),
    }),
  ),
  pinned: v.array(v.string()),
  /** What of it is kept in memory now: executables and libraries. */
  kept: v.optional(v.strictObject({ files: count, bytes: count })),
});

/** An application whose folders lie in memory. */
export const servedPage = v.strictObject({
  app: v.string(),
  owner: v.strictObject({ uid, name: v.optional(v.string()) }),
  /** `filling`, `filled`: no instance works in it yet. `ending`: the last one has ended, and the disk does not have all of it yet. */
  state: v.picklist(['filling', 'filled', 'serving', 'ending', 'gone']),
  instances: count,
  /** What was written after this moment is in memory only. */
  savedMs: count,
  /** Why it was not written back when it was last tried. */
  problem: v.optional(v.string()),
  /** It has little room left, and why it gets no more. What it has written is on the disk all the same. */
  shortage: v.optional(v.string()),
});

const slow = { timeoutMs: 40_000 };

/** Methods about applications: what is known of each, and how it is to run. */
export const appMethods = {
  'app.list': sync(
    'any',
    'Lists applications, each with how it runs.',
    {
      /** Only those whose id or name has this in it. */
      match: v.optional(text),
      /** Only those of which an administrator or the caller says how they are to run. */
      stated: v.optional(v.boolean()),
    },
    {
      applications: v.array(applicationLine),
      /** How many more there are. */
      more: count,
    },
    slow,
  ),
  'app.show': sync(
    'any',
    'Shows what is known of an application, and who says it.',
    { app: id },
    { application: applicationPage },
    slow,
  ),
  'app.explain': sync(
    'any',
    'Explains how an application or a program runs.',
    {
      /** Absent: the one that the program is found to be. */
      app: v.optional(id),
      /** The program that is started; absent: the executable of the application. */
      executable: v.optional(executable),
      /** The profile that is asked for. */
      profile: v.optional(profile),
    },
    { explanation },
    slow,
  ),
  'app.set': change(
    'any',
    'Says what is known of an application: for oneself, or as root for everybody.',
    {
      app: id,
      /** For everybody: root only. */
      everybody: v.optional(v.boolean()),
      set: v.optional(facts),
      /** Facts of which nothing is said any more. */
      unset: v.optional(v.pipe(v.array(v.picklist(statable)), v.maxLength(statable.length))),
    },
    { application: applicationPage },
  ),
  'app.sync': sync(
    'any',
    "Writes back now what the caller's applications have in memory only; those of all users for root.",
    {
      app: v.optional(id),
      /** Answers after this time; what is not on the disk by then is told, and goes on. */
      withinMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100_000))),
    },
    { applications: v.array(servedPage) },
    { timeoutMs: 110_000 },
  ),
  'app.import': sync(
    'any',
    "Reads again what the caller's files, and for root the machine's lists, tell of applications.",
    {},
    {
      /** What each kind of list gave. */
      counts: v.array(v.strictObject({ kind: v.string(), files: count, entries: count })),
      /** What could not be understood, and where it stands. */
      problems: v.array(v.strictObject({ from: v.string(), text: v.string() })),
      /** Further ones that are not told. */
      problemsMore: count,
      /** How the whole machine could be set, by tuned; nothing of it is. */
      presets: v.array(
        v.strictObject({
          name: v.string(),
          summary: v.string(),
          include: v.array(v.string()),
          sets: v.array(v.string()),
          from: v.string(),
        }),
      ),
    },
    slow,
  ),
};
