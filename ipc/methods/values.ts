import * as v from 'valibot';
import { digestPattern, namePattern, tokenPattern } from '../values.ts';

/** Longest free text a caller may send: a description, a comment. */
export const textCharsMax = 4096;
/** PATH_MAX of Linux, without the closing zero. */
export const pathBytesMax = 4095;

const referencePattern = new RegExp(`${namePattern.source}|${digestPattern.source}`);

/** The name of a base, persona or slot. */
export const name = v.pipe(v.string(), v.regex(namePattern, 'not a name'));
/** `sha256:HEX`. */
export const digest = v.pipe(v.string(), v.regex(digestPattern, 'not a digest'));
/** A name or a digest. */
export const reference = v.pipe(v.string(), v.regex(referencePattern, 'not a name or digest'));
/** A one-time ticket. */
export const ticket = v.pipe(v.string(), v.regex(tokenPattern, 'not a ticket'));
/** Free text of a caller. */
export const text = v.pipe(v.string(), v.maxLength(textCharsMax));
/** A count, a size in bytes, milliseconds since 1970: whole and not negative. */
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** The number of a change or generation. */
export const serial = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** A user id. */
export const uid = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xfffffffe));
/** A volume that a machine may have. */
export const volumeName = v.picklist(['user', 'system']);
/** An absolute path of the daemon's machine. */
export const path = v.pipe(
  v.string(),
  v.regex(/^\/[^\0]*$/, 'not an absolute path'),
  v.maxBytes(pathBytesMax),
);
/** Names and values of environment variables. */
export const environment = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'not a variable name')),
    v.pipe(v.string(), v.regex(/^[^\0]*$/, 'has a zero byte'), v.maxLength(textCharsMax)),
  ),
  v.maxEntries(256),
);

/** Of a list that may not fit one reply: only what comes after this name in the order of the list. */
export const after = v.optional(v.string());
/** More follows; ask again with `after` = the last name. */
export const more = v.optional(v.boolean());

/** Where a change reads its data: a path that root names, or an upload by ticket. */
export const input = v.variant('kind', [
  v.strictObject({ kind: v.literal('path'), path }),
  v.strictObject({ kind: v.literal('upload'), ticket }),
]);

/** An error inside a result. */
export const failure = v.strictObject({
  code: v.string(),
  message: v.string(),
  hint: v.optional(v.string()),
  task: v.optional(v.number()),
});

/** How far something is; `total` absent means unknown. */
export const progress = v.strictObject({
  done: v.number(),
  total: v.optional(v.number()),
  unit: v.optional(v.picklist(['bytes', 'entries', 'steps'])),
  note: v.optional(v.string()),
});

/** Something with a name and a content digest. */
export const named = v.strictObject({ name: v.string(), digest: v.string() });
