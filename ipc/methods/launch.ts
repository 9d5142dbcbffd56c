import * as v from 'valibot';
import { sync } from '../method.ts';

/** How a program is started. */
export const launchProfile = v.picklist(['standard', 'fast', 'secure']);

/** A number of the kernel that JSON numbers may be too small for. */
const kernelNumber = v.pipe(v.string(), v.regex(/^[0-9]{1,20}$/, 'not a whole number'));

/** An id of an application: as its desktop entry is called. */
const application = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._+-]{0,127}$/, 'not the id of an application'),
);

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
      argv: v.array(v.string()),
      /** What is different for the program; everything else of the caller's environment stays. */
      environment: v.strictObject({
        set: v.record(v.string(), v.string()),
        unset: v.array(v.string()),
      }),
      /** For the person who starts it. */
      notices: v.array(v.string()),
    },
  ),
};
