import * as v from 'valibot';
import { sync } from '../method.ts';
import { count, ticket } from './values.ts';

/** Methods about large data, which travels beside the messages. */
export const bulkMethods = {
  'bulk.open': sync(
    'group',
    'Gives a one-time ticket for an upload on a connection of its own.',
    {
      direction: v.literal('up'),
      /** How many bytes will come, when known: checked against free space now, exact at the end. */
      bytes: v.optional(count),
    },
    { ticket, bytesMax: count, expiresMs: count },
  ),
};
