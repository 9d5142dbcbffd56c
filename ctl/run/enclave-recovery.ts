import { type ErrorCode, fromWire, type PersonaError, toWire } from '../../ipc/errors.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { known } from '../perform.ts';
import { say } from '../print/safe.ts';
import { newRecoveryKey, recoveryBytes } from '../recovery-key.ts';
import { sendBytes, sendSecret } from '../secret.ts';

/** After these the change may have ended well, or may do so yet. All others are of one that has changed nothing. */
const undecided: readonly ErrorCode[] = [
  'connection-lost',
  'daemon-stopping',
  'change-stuck',
  'timed-out',
  'reply-too-large',
  'internal',
];

/** The same error, which also says which recovery key counts. */
function sayingWhichCounts(error: PersonaError): PersonaError {
  const words = undecided.includes(error.code)
    ? 'The new recovery key counts once the change has ended well (`personactl change list`), until then one of before does: keep both.'
    : 'The new recovery key does not count; one of before still does.';
  return fromWire({ ...toWire(error), hint: `${error.hint} ${words}`.trimStart() });
}

/** `personactl enclave recovery` */
export async function recovery(call: Call): Promise<number | undefined> {
  const enclave = call.name('ENCLAVE');
  const { key: _, ...given } = await sendSecret(call, false);
  const method = 'enclave.recovery';
  const params = { enclave, ...given };
  // A plan has no key.
  if (call.has('dry-run')) return runChange(call, method, params, () => undefined);
  const recoveryKey = newRecoveryKey();
  const sent = { ...params, recovery: await sendBytes(call, recoveryBytes(recoveryKey)) };
  // Before the daemon replaces one of before: who is cut off then has seen the one that counts.
  if (!call.out.json) call.out.lines([say`Recovery key: ${call.out.style.bold(recoveryKey)}`]);
  try {
    return await runChange(
      call,
      method,
      sent,
      (outcome) => {
        call.out.done({ ...outcome, recoveryKey }, () => [
          say`It opens enclave ${enclave} beside what does now: \`personactl enclave open ${enclave} --recovery\`. It is shown this once.`,
        ]);
        return undefined;
      },
      { recoveryKey },
    );
  } catch (thrown) {
    const error = fromWire(toWire(known(thrown)));
    // Not in the error: what goes to stderr is kept in logs.
    if (call.out.json && undecided.includes(error.code)) call.out.result({ recoveryKey }, () => []);
    throw sayingWhichCounts(error);
  }
}
