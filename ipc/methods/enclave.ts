import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { count, name, ticket, uid } from './values.ts';

/** What opens an enclave. With `tpm2` no secret is given: the TPM of the machine has it. */
const keyKind = v.picklist(['passphrase', 'file', 'credential', 'tpm2']);

/** An encrypted volume of one user. */
export const enclavePage = v.strictObject({
  name: v.string(),
  owner: v.strictObject({ uid, name: v.optional(v.string()) }),
  bytes: count,
  /** How its content is encrypted: by the file system, or by device-mapper. */
  type: v.picklist(['fscrypt', 'luks2']),
  /** What opens it. */
  key: keyKind,
  /** The name of the credential that it was made with. */
  credential: v.optional(v.string()),
  /** A recovery key opens it, too. */
  recovery: v.optional(v.literal(true)),
  /** `missing`: its volume or its key is not where it was. */
  state: v.picklist(['open', 'closed', 'missing']),
  /** Where it is while it is open. */
  path: v.string(),
  createdMs: count,
  openedMs: v.optional(count),
  /** Closed by itself after so long without use. */
  idleMs: v.optional(count),
  /** Closed before the machine sleeps. */
  beforeSleep: v.optional(v.literal(true)),
  problem: v.optional(v.string()),
  /** Programs that use it. */
  inside: v.array(v.strictObject({ pid: count, uid, command: v.string() })),
});

/** What a machine has to keep memory from the rest of it. */
export const hardware = v.picklist(['none', 'sgx', 'sev', 'tdx', 'trustzone']);

/** Who is kept out by what, and who is not. */
export const assurance = v.strictObject({
  /** What this machine has. */
  hardware,
  /** Whether the enclave's content is kept by it. */
  hardwareUsed: v.boolean(),
  /** Of the machine's memory: encrypted or not. */
  memory: v.string(),
  /** What the processor keeps the memory of programs apart with, and its flaws. */
  protection: v.string(),
  /** Whether a program may read the memory of another one of its user. */
  sameUser: v.string(),
  swap: v.string(),
  disk: v.string(),
  key: v.string(),
  keyMemory: v.string(),
  /** What becomes of an open enclave when the machine sleeps. */
  sleep: v.string(),
  /** Who can still read it, while it is closed and while it is open. */
  reach: v.strictObject({ closed: v.array(v.string()), open: v.array(v.string()) }),
});

/**
 * A passphrase or the content of a key file, by a ticket of `bulk.open` (secret): it travels beside the messages, into
 * memory only. Absent in a dry run, and where the TPM has it.
 */
const secret = v.optional(ticket);
/** In its place, for root: a credential that the service manager keeps for the daemon. */
const credential = v.optional(name);

/** Methods about enclaves. */
export const enclaveMethods = {
  'enclave.create': change(
    'group',
    'Makes an enclave: an encrypted volume of the caller.',
    {
      name,
      bytes: count,
      key: keyKind,
      /** `auto`, the default: `luks2` where device-mapper and cryptsetup are. */
      type: v.optional(v.picklist(['auto', 'fscrypt', 'luks2'])),
      secret,
      credential,
    },
    { enclave: enclavePage },
  ),
  'enclave.list': sync(
    'any',
    'Lists the enclaves of the caller; for root, all.',
    {},
    { enclaves: v.array(enclavePage) },
  ),
  'enclave.show': sync(
    'any',
    'Shows an enclave, and who is kept out of it by what.',
    { enclave: name },
    { enclave: enclavePage, assurance },
  ),
  'enclave.open': change(
    'group',
    'Opens an enclave for its owner.',
    {
      enclave: name,
      secret,
      credential,
      /** The secret is the recovery key. */
      recovery: v.optional(v.boolean()),
      /** Close it by itself after so long without use. */
      idleMs: v.optional(count),
      /** Close it before the machine sleeps, also while programs use it. */
      beforeSleep: v.optional(v.boolean()),
    },
    { enclave: enclavePage },
  ),
  'enclave.close': change(
    'group',
    'Closes an enclave that nobody uses.',
    {
      enclave: name,
      /** Also while programs use it: what they have open stays readable to them until they end. */
      force: v.optional(v.boolean()),
    },
    {
      enclave: v.string(),
      /** Somebody still held a file of it, and can read that one until he ends. */
      held: v.boolean(),
    },
  ),
  'enclave.sleep': sync(
    'root',
    'Closes, in time, every enclave that was opened to be closed before the machine sleeps.',
    {},
    {
      closed: v.array(v.string()),
      /** Closed, but somebody holds a file of it, and can read that one until he ends. */
      held: v.array(v.string()),
      /** Still open. */
      left: v.array(v.strictObject({ enclave: v.string(), reason: v.string() })),
    },
    // More than its own deadline; sleep waits for it.
    { timeoutMs: 6_500 },
  ),
  'enclave.passwd': change(
    'group',
    'Changes what opens an enclave; what is in it stays as it is.',
    {
      enclave: name,
      secret,
      credential,
      /** The secret is the recovery key. */
      recovery: v.optional(v.boolean()),
      /** What opens it from then on. */
      new: v.strictObject({ key: keyKind, secret, credential }),
    },
    { enclave: enclavePage },
  ),
  'enclave.recovery': change(
    'group',
    'Makes a recovery key, which opens an enclave beside what opens it now, in the place of the one of before.',
    {
      enclave: name,
      secret,
      credential,
      /** The recovery key: the caller draws it, so that it is in no answer. */
      recovery: secret,
    },
    { enclave: enclavePage },
  ),
  'enclave.rm': change(
    'group',
    'Destroys a closed enclave, its key first.',
    { enclave: name },
    { enclave: v.string(), freedBytes: count },
  ),
};
