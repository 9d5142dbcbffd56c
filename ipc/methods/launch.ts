import * as v from 'valibot';
import { sync } from '../method.ts';
import { applicationIdPattern, grantWords, planListMax } from '../values.ts';
import { hardware } from './enclave.ts';
import { count, name, uid } from './values.ts';

/** How a program is started. */
export const launchProfile = v.picklist(['standard', 'fast', 'secure']);

/** A number of the kernel that JSON numbers may be too small for. */
const kernelNumber = v.pipe(v.string(), v.regex(/^[0-9]{1,20}$/, 'not a whole number'));

/** An id of an application. */
export const applicationId = v.pipe(
  v.string(),
  v.regex(applicationIdPattern, 'not the id of an application'),
);

/** A program as its caller has opened it: what an application is known by. */
export const executable = v.strictObject({
  path: v.pipe(v.string(), v.startsWith('/'), v.maxLength(4096)),
  device: kernelNumber,
  inode: kernelNumber,
});

const text = v.pipe(v.string(), v.regex(/^[^\0]*$/, 'it has a zero in it'));
const texts = v.pipe(v.array(text), v.maxLength(planListMax));
const variable = v.pipe(v.string(), v.regex(/^[^\0=]+$/, 'not the name of a variable'));
const variables = v.pipe(v.array(variable), v.maxLength(planListMax));

const path = v.pipe(text, v.startsWith('/'), v.maxLength(4096));

/** Things of the session that it may be given. */
export const grantWord = v.picklist(grantWords);

/** What an application that is kept apart is given, in the words of `slot.exec`; for others it is refused. */
const launchGrants = v.pipe(
  v.array(v.union([grantWord, v.strictObject({ show: path }), v.strictObject({ share: path })])),
  v.maxLength(32),
);

/** Who an application is kept apart from by what, and from whom not. */
const apartness = {
  /** What it is kept apart from, and by what. */
  apart: v.array(v.string()),
  /** What was granted, and what that amounts to. */
  granted: v.array(v.string()),
  disk: v.string(),
  /** What this machine has; its content is never kept by it. */
  hardware,
  hardwareUsed: v.literal(false),
  memory: v.string(),
  /** What the processor keeps the memory of programs apart with, and its flaws. */
  protection: v.string(),
  /** Whether other programs of its user may read its memory. */
  sameUser: v.string(),
  swap: v.string(),
  landlock: v.string(),
  /** Who can still reach what is in it. */
  reach: v.array(v.string()),
};

/** An application that runs. */
export const runningApplication = v.strictObject({
  app: v.string(),
  /** The user it counts to. */
  owner: count,
  profile: launchProfile,
  rule: v.string(),
  reason: v.string(),
  sinceMs: count,
  /** It was started through the daemon, or found running. */
  by: v.picklist(['launch', 'found']),
  /** Its control group. */
  group: v.string(),
  /** What it has of the memory now; absent where that cannot be told. */
  memoryBytes: v.optional(count),
  /** It must be kept apart and is not: why, and what was done. */
  violation: v.optional(v.string()),
});

/** An application that runs, and whether it does so as its profile says. */
export const verifiedApplication = v.strictObject({
  app: v.string(),
  owner: count,
  profile: launchProfile,
  sinceMs: count,
  group: v.string(),
  /** No check has failed. */
  holds: v.boolean(),
  checks: v.array(
    v.strictObject({
      /** `program`: the file that runs. `memory`: folders that are to be seen from memory. `walls`: what keeps it apart. */
      name: v.picklist(['group', 'weights', 'program', 'memory', 'walls']),
      /** `unknown`: this machine or this daemon cannot tell. */
      state: v.picklist(['holds', 'fails', 'unknown']),
      detail: v.string(),
    }),
  ),
});

/** Methods about programs that are about to start, and those that run. */
export const launchMethods = {
  'launch.plan': sync(
    'any',
    'Answers how to start an application; the caller becomes it by itself.',
    {
      app: applicationId,
      executable: v.optional(executable),
      /** Absent: as is known of the application. `secure` is answered by a plan for it, or refused. */
      profile: v.optional(launchProfile),
      grants: v.optional(launchGrants),
      /** The enclave that is to be its home, if it is kept apart; absent: the one that is stated, or the only one that the caller has. */
      enclave: v.optional(name),
      /** Only tell: the caller starts nothing, and is put nowhere. */
      dryRun: v.optional(v.boolean()),
    },
    {
      app: v.string(),
      profile: launchProfile,
      /** The rule that decided, and what it went by. */
      rule: v.string(),
      reason: v.string(),
      /** Where the caller's process is put, after this answer: it need not wait for that. */
      placement: v.variant('state', [
        v.strictObject({ state: v.literal('follows'), group: v.string() }),
        v.strictObject({ state: v.literal('none'), reason: v.string() }),
      ]),
      /** Words before the command; the first is an absolute path. */
      argv: v.pipe(
        texts,
        v.check(([first = '/']) => first.startsWith('/'), 'its program has no absolute path'),
      ),
      /** What is different for the program. Of the caller's environment stays what is not unset, or only what is named in `keep`. */
      environment: v.strictObject({
        set: v.pipe(v.record(variable, text), v.maxEntries(planListMax)),
        unset: variables,
        keep: v.optional(v.pipe(variables, v.minLength(1))),
      }),
      /** A file that `argv` expects open as 3; the program gets no other descriptor of the caller's from there up. */
      filter: v.optional(path),
      /** For the person who starts it. */
      notices: texts,
      /** In a dry run of one that is kept apart. */
      assurance: v.optional(v.strictObject(apartness)),
    },
  ),
  'launch.apart': sync(
    'any',
    'Lists applications of the caller that run apart, and what keeps each apart; of everybody for root.',
    {},
    {
      /** The last started first. */
      applications: v.array(
        v.strictObject({
          app: v.string(),
          pid: count,
          uid,
          startedMs: count,
          enclave: v.string(),
          ...apartness,
        }),
      ),
      /** How many more there are. */
      more: count,
    },
  ),
  'launch.verify': sync(
    'any',
    "Asks the kernel whether the caller's applications run as their profiles say; those of everybody for root.",
    {
      /** Only this one. */
      app: v.optional(applicationId),
    },
    {
      /** The last started first; without those that have just ended. */
      applications: v.array(verifiedApplication),
      /** How many more run, that were not looked at. */
      more: count,
    },
  ),
  'launch.list': sync(
    'any',
    "Lists the caller's applications that run, for root those of everybody.",
    {},
    {
      /** The last started first. */
      applications: v.array(runningApplication),
      /** How many more there are. */
      more: count,
      /** Why programs that are started are not known. */
      obstacle: v.optional(v.string()),
    },
  ),
};
