import * as v from 'valibot';
import { sync } from '../method.ts';
import { count, ticket } from './values.ts';

/** Methods about large data, which travels beside the messages. */
export const bulkMethods = {
  'bulk.open': sync(
    'group',
    'Gives a one-time ticket for a transfer on a connection of its own.',
    {
      /**
       * Up: data for a change to take. Secret: a key or passphrase for a change to take, at most 4096 bytes, which go into memory and
       * never into a file. Down: what a change is going to write, such as a backup.
       */
      direction: v.picklist(['up', 'secret', 'down']),
      /** How many bytes will come, when known: checked against free space now, exact at the end. */
      bytes: v.optional(count),
    },
    { ticket, bytesMax: count, expiresMs: count },
  ),
};
