import * as v from 'valibot';
import { sync } from '../method.ts';
import { planListMax } from '../values.ts';

/** How a program is started. */
export const launchProfile = v.picklist(['standard', 'fast', 'secure']);

/** A number of the kernel that JSON numbers may be too small for. */
const kernelNumber = v.pipe(v.string(), v.regex(/^[0-9]{1,20}$/, 'not a whole number'));

/** An id of an application: as its desktop entry is called. */
const application = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._+-]{0,127}$/, 'not the id of an application'),
);

const text = v.pipe(v.string(), v.regex(/^[^\0]*$/, 'it has a zero in it'));
const texts = v.pipe(v.array(text), v.maxLength(planListMax));
const variable = v.pipe(v.string(), v.regex(/^[^\0=]+$/, 'not the name of a variable'));
const variables = v.pipe(v.array(variable), v.maxLength(planListMax));

/** Methods about programs that are about to start. */
export const launchMethods = {
  'launch.plan': sync(
    'any',
    'Answers how to start an application; the caller becomes it by itself.',
    {
      app: application,
      /** The program as the caller has opened it: what an application is known by. */
      executable: v.optional(
        v.strictObject({
          path: v.pipe(v.string(), v.startsWith('/'), v.maxLength(4096)),
          device: kernelNumber,
          inode: kernelNumber,
        }),
      ),
      /** Absent: as is known of the application. `secure` is answered by a plan for it, or refused. */
      profile: v.optional(launchProfile),
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
      filter: v.optional(v.pipe(text, v.startsWith('/'))),
      /** For the person who starts it. */
      notices: texts,
    },
  ),
};
