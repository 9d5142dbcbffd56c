import type * as v from 'valibot';
import { appMethods } from './app.ts';
import { baseMethods } from './base.ts';
import { bulkMethods } from './bulk.ts';
import { changeMethods } from './change.ts';
import { daemonMethods } from './daemon.ts';
import { enclaveMethods } from './enclave.ts';
import { fastMethods } from './fast.ts';
import { keyMethods } from './key.ts';
import { launchMethods } from './launch.ts';
import { partitionMethods } from './partitions.ts';
import { personaMethods } from './persona.ts';
import { slotMethods } from './slot.ts';
import { systemMethods } from './system.ts';
import { volumeMethods } from './volume.ts';

/** The one table: every operation that the daemon knows, and nothing else. */
export const methods = {
  ...daemonMethods,
  ...systemMethods,
  ...changeMethods,
  ...bulkMethods,
  ...baseMethods,
  ...personaMethods,
  ...keyMethods,
  ...slotMethods,
  ...partitionMethods,
  ...fastMethods,
  ...volumeMethods,
  ...enclaveMethods,
  ...launchMethods,
  ...appMethods,
};

/** The table by type. */
export type Methods = typeof methods;
/** The name of a method. */
export type MethodName = keyof Methods;
/** What a caller sends. */
export type Params<M extends MethodName> = v.InferInput<Methods[M]['params']>;
/** What the daemon answers on the wire. */
export type Answer<M extends MethodName> = v.InferOutput<Methods[M]['result']>;
/** Methods that start a durable change. */
export type ChangeMethod = {
  [M in MethodName]: Methods[M]['kind'] extends 'change' ? M : never;
}[MethodName];
/** Methods that are answered when done. */
export type SyncMethod = Exclude<MethodName, ChangeMethod>;
/** What a change answers when it is done. */
export type ChangeResult<M extends ChangeMethod> = NonNullable<Answer<M>['result']>;
