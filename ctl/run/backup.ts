import { isCode, PersonaError } from '../../ipc/errors.ts';
import type { ChangeResult } from '../../ipc/methods/index.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { Detached, interrupted, runChange, watched } from '../change.ts';
import { checkTarget, receive, type Written } from '../download.ts';
import { say } from '../print/safe.ts';
import { download } from '../transfer.ts';

type Made = ChangeResult<'system.backup'>;

/** `personactl backup`: to the file that is named, which only its owner may read: the machine's keys are in it. */
export async function backup(call: Call): Promise<number | undefined> {
  const path = call.operand('FILE');
  if (call.has('dry-run')) return runChange(call, 'system.backup', {}, () => undefined);
  await checkTarget(call, path, call.has('force'));
  try {
    const made = await watched(call, undefined, (onEvent) => fetched(call, path, onEvent));
    print(call, made);
    return undefined;
  } catch (error) {
    // Nobody takes what the daemon writes any more, and that ends the change.
    if (error instanceof Detached) throw interrupted();
    throw error;
  }
}

interface Fetched {
  file: Written;
  changeId: number | undefined;
  result: Made;
}

/** Starts the change, and writes what it sends. The change says whether that was all. */
async function fetched(
  call: Call,
  path: string,
  onEvent: Parameters<Parameters<typeof watched>[2]>[0],
): Promise<Fetched> {
  const client = await call.client();
  const { ticket } = await client.call('bulk.open', { direction: 'down' });
  const change = client.call('system.backup', { ticket, wait: true }, { onEvent });
  const ended = change.then(({ changeId, result }) => {
    if (result === undefined) throw new PersonaError('internal', 'the daemon answered no result');
    return { changeId, result };
  });
  const file = receive(call, {
    path,
    mode: 0o600,
    data: download(client.path, ticket, () => {}),
    async check({ bytes }) {
      if (bytes !== (await ended).result.bytes) throw new PersonaError('connection-lost');
    },
  });
  const [written, outcome] = await Promise.allSettled([file, ended]);
  // A change that lost its reader does not know why; of everything else it knows more.
  if (outcome.status === 'rejected' && !isCode(outcome.reason, 'connection-lost'))
    throw outcome.reason;
  if (written.status === 'rejected') throw written.reason;
  if (outcome.status === 'rejected') throw outcome.reason;
  return { file: written.value, ...outcome.value };
}

function print(call: Call, { file, changeId, result }: Fetched): void {
  const { style } = call.out;
  call.out.done({ ...(changeId !== undefined && { changeId }), result, file }, () => {
    const { bases, personas, slots, live } = result;
    const counts = [
      amount(bases, 'base'),
      amount(personas, 'persona'),
      amount(slots.length, 'slot'),
    ];
    return [
      say`Written to ${style.bold(file.path)}, ${formatSize(file.bytes)}: ${counts.join(', ')}.`,
      ...(live.length === 0
        ? []
        : [
            say`In use meanwhile, each file as it was when it was read: ${live.map(({ slot }) => slot).join(', ')}.`,
          ]),
      say`It holds this machine's signing key: keep it where only you can read it.`,
    ];
  });
}

/** "1 slot", "2 slots". */
export const amount = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;
