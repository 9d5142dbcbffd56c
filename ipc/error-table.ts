/** The exit statuses of the tool, and nothing else. `personactl help exit` prints them. */
export const exitStatus = {
  ok: 0,
  failure: 1,
  usage: 2,
  notRunning: 3,
  notFound: 4,
  denied: 5,
  conflict: 6,
  timedOut: 7,
  integrity: 8,
} as const;

/** One row of the error table. */
export interface ErrorRow {
  /** "cannot ..."; `{name}` is filled from the detail of the error. */
  message: string;
  /** What the reader can do next. May hold placeholders too. */
  hint: string;
  /** Exit status of the tool. */
  exit: (typeof exitStatus)[keyof typeof exitStatus];
}

const { failure, usage, notRunning, notFound, denied, conflict, timedOut, integrity } = exitStatus;

const row = (exit: ErrorRow['exit'], message: string, hint: string): ErrorRow => ({
  message,
  hint,
  exit,
});

/**
 * The one error table: code -> message form, hint, exit status. A code is never reused with another
 * meaning. Add the row first, then throw it; the test fails on rows that nobody throws.
 */
export const errorTable = {
  // -- the caller said something wrong
  'bad-request': row(
    usage,
    'cannot understand the request: {reason}',
    'Compare the call with `personactl help`; tool and daemon may be of different versions.',
  ),
  'bad-usage': row(usage, 'cannot run this command: {reason}', 'See `personactl help {command}`.'),
  'bad-name': row(
    usage,
    'cannot use {name} as a name',
    'A name has 1 to 63 characters of a-z, 0-9, ".", "_" and "-", starts with a letter or digit, and has no "..".',
  ),
  'bad-value': row(usage, 'cannot accept {name}: {reason}', 'Correct the value and try again.'),
  'unknown-method': row(
    usage,
    'cannot call {method}: the daemon does not know it',
    'Tool and daemon are of different versions: restart the daemon after an update.',
  ),
  'not-supported': row(
    failure,
    'cannot do this: {what} is not supported by this version',
    'Leave it out, or update personad.',
  ),

  // -- reaching the daemon
  'daemon-not-running': row(
    notRunning,
    'cannot reach the daemon at {socket}',
    'Is personad running? Start it with `systemctl start personad` or `scripts/quickstart`.',
  ),
  'connection-lost': row(
    notRunning,
    'cannot finish: the daemon closed the connection',
    'A change that was accepted goes on: see `personactl change list`.',
  ),
  'daemon-stopping': row(
    notRunning,
    'cannot take new work: the daemon is stopping',
    'Try again when it is back.',
  ),
  'daemon-degraded': row(
    conflict,
    'cannot change anything: the daemon runs degraded ({reason})',
    'See `personactl status` and `personactl doctor` for what is wrong and how to repair it.',
  ),
  'too-many-requests': row(
    conflict,
    'cannot take more requests from this user now ({limit} at a time)',
    'Wait until the running ones have ended.',
  ),
  'reply-too-large': row(
    failure,
    'cannot answer: the answer is larger than one message may be',
    'Ask for less at a time, for example with a limit.',
  ),
  'timed-out': row(timedOut, 'cannot finish {what} in time', 'Try again; see `personactl status`.'),
  cancelled: row(failure, 'cannot go on: the work was cancelled', 'Start it again if you want.'),
  'permission-denied': row(
    denied,
    'cannot do this as the calling user: {reason}',
    'Ask an administrator, or use sudo where you may.',
  ),

  // -- objects
  'base-not-found': row(notFound, 'cannot find base {base}', 'See `personactl base list`.'),
  'persona-not-found': row(
    notFound,
    'cannot find persona {persona}',
    'See `personactl persona list`.',
  ),
  'slot-not-found': row(notFound, 'cannot find slot {slot}', 'See `personactl slot list`.'),
  'fast-not-found': row(
    notFound,
    'cannot find fast partition {name}',
    'See `personactl fast list`.',
  ),
  'change-not-found': row(notFound, 'cannot find change {change}', 'See `personactl change list`.'),
  'generation-not-found': row(
    notFound,
    'cannot find generation {generation} of slot {slot}',
    'See `personactl history {slot}`.',
  ),
  'volume-not-found': row(notFound, 'cannot find volume {volume}', 'See `personactl volume list`.'),
  'key-not-found': row(notFound, 'cannot find key {key}', 'See `personactl key list`.'),
  'enclave-not-found': row(
    notFound,
    'cannot find enclave {enclave}',
    'See `personactl enclave list`.',
  ),
  'ticket-not-found': row(
    notFound,
    'cannot use this ticket: unknown, used, expired or of another user',
    'Ask for a new one.',
  ),
  'file-not-found': row(notFound, 'cannot find {path}', 'Check the path.'),
  'already-exists': row(
    conflict,
    'cannot create {what}: it exists already',
    'Choose another name, or remove the existing one first.',
  ),
  'in-use': row(
    conflict,
    'cannot remove {what}: it is used by {by}',
    'Remove or switch its users first; `personactl status` shows them.',
  ),
  'slot-busy': row(
    conflict,
    'cannot swap slot {slot}: programs are running in it ({who})',
    'End them, or use --wait or --kill.',
  ),
  'slot-empty': row(
    conflict,
    'cannot use slot {slot}: no persona is active in it',
    'Activate one with `personactl swap {slot} PERSONA`.',
  ),
  'enclave-busy': row(
    conflict,
    'cannot close enclave {enclave}: programs are using it ({who})',
    'End them, then close it again; or use --force, which leaves them only what they have open.',
  ),
  'enclave-state': row(
    conflict,
    'cannot {action} enclave {enclave}: it is {state}',
    'See `personactl enclave show {enclave}`.',
  ),
  'profile-unavailable': row(
    failure,
    'cannot start {app} as {profile}: {reason}',
    'Nothing was started. `personactl run --dry-run` shows what decides.',
  ),
  'app-not-found': row(
    notFound,
    'cannot find the application {app}',
    'See `personactl app list`; `personactl app set` makes one known.',
  ),
  'wrong-key': row(
    denied,
    'cannot open enclave {enclave}: this is not its {key}',
    'Try again with the right one. Without it nobody can open the enclave.',
  ),
  'tpm-refused': row(
    failure,
    'cannot have the key of enclave {enclave} from the TPM of this machine: {reason}',
    'Only the TPM that sealed it gives it back, and not after it was cleared. Without it nobody can open the enclave.',
  ),
  'credential-unusable': row(
    failure,
    'cannot use credential {name} of the service: {reason}',
    'Give it one: `systemctl edit personad`, [Service], LoadCredentialEncrypted={name}:FILE, then `systemctl restart personad`.',
  ),
  'change-conflict': row(
    conflict,
    'cannot start now: change {change} holds {what}',
    'Wait for it: `personactl change follow {change}`.',
  ),
  'change-not-abortable': row(
    conflict,
    'cannot abort change {change}: {reason}',
    'See `personactl change show {change}`.',
  ),
  'change-not-stuck': row(
    conflict,
    'cannot continue change {change}: it is not stuck',
    'See `personactl change show {change}`.',
  ),
  'change-stuck': row(
    failure,
    'cannot undo change {change}: {reason}',
    'Repair the cause, then `personactl change continue {change}`.',
  ),
  'change-aborted': row(
    failure,
    'cannot finish change {change}: it was aborted',
    'Everything it had done was undone.',
  ),
  'already-running': row(
    conflict,
    'cannot start: another daemon uses {path}',
    'Stop the other daemon first.',
  ),

  // -- space and limits
  'no-space': row(
    conflict,
    'cannot start: {needed} needed, {free} free in {path} (a reserve is kept)',
    'Free some space: `personactl gc --dry-run` shows what personad can give back.',
  ),
  'no-memory': row(
    conflict,
    'cannot set {needed} of memory aside: {spare} can be spared without starving a side',
    'Make it smaller, or remove another: `personactl fast list`.',
  ),
  'limit-exceeded': row(
    failure,
    'cannot accept this: {what} is over the limit of {limit}',
    'Make the input smaller.',
  ),

  // -- images, archives, signatures
  'bad-archive': row(
    integrity,
    'cannot read the archive: {reason}',
    'It is damaged or was not made by a tool that follows the format.',
  ),
  'bad-image': row(
    integrity,
    'cannot read the image: {reason}',
    'It is damaged or of a format that is not supported.',
  ),
  'bad-persona': row(
    integrity,
    'cannot accept this persona file: {reason}',
    'Ask its author for a correct one.',
  ),
  'digest-mismatch': row(
    integrity,
    'cannot accept {what}: expected {expected}, found {found}',
    'The data was changed or damaged on its way: get it again.',
  ),
  'bad-signature': row(
    integrity,
    'cannot accept the signature: {reason}',
    'Get the file again, or import it without the signature.',
  ),
  'not-trusted': row(
    denied,
    'cannot use {what}: no trusted key signed it',
    'Root can trust a key: `personactl key trust FILE`.',
  ),
  'key-revoked': row(
    denied,
    'cannot use {what}: its key {key} was revoked',
    'Import a version signed by a trusted key.',
  ),
  'wrong-base': row(
    conflict,
    'cannot use this persona here: it needs base {wanted}',
    'Import that base first: `personactl base import NAME --from PATH`.',
  ),
  'format-too-new': row(
    integrity,
    'cannot read format version {found}: this version knows up to {known}',
    'Update personad.',
  ),

  // -- the machine
  'capability-missing': row(
    failure,
    'cannot do this: the machine lacks {capability}',
    'See `personactl doctor` for the fix.',
  ),
  'tool-missing': row(failure, 'cannot run {tool}: it is not installed', 'Install it: {fix}.'),
  'tool-failed': row(failure, 'cannot finish: {tool} failed: {reason}', 'See the daemon log.'),
  'kernel-refused': row(
    failure,
    'cannot finish: the kernel refused {call}: {reason}',
    'See `personactl doctor`.',
  ),
  'check-failed': row(
    integrity,
    'cannot activate: the check {check} failed: {reason}',
    'The slot stays on (or returned to) its last good generation.',
  ),
  'user-namespaces-off': row(
    failure,
    'cannot start a program: user namespaces are switched off for users',
    'As root: `sysctl kernel.unprivileged_userns_clone=1`, and user.max_user_namespaces above 0; then start personad again.',
  ),
  'bad-config': row(usage, 'cannot use the settings: {reason}', 'Correct {file}.'),
  'state-damaged': row(
    integrity,
    'cannot trust the recorded state: {reason}',
    'Nothing was deleted; see `personactl doctor`.',
  ),
  internal: row(
    failure,
    'cannot finish: internal error: {reason}',
    'This is a fault of personad: please report it with the daemon log.',
  ),
} as const satisfies Record<string, ErrorRow>;
