import { isOver } from '../../ipc/client.ts';
import { exitStatus } from '../../ipc/errors.ts';
import { type Call, wholeNumber } from '../call.ts';
import { Detached, errorOf, sayDetached, watched } from '../change.ts';
import { changePageLines, changeState } from '../print/change-lines.ts';
import { columns } from '../print/columns.ts';
import { say } from '../print/safe.ts';
import { ago } from '../print/time.ts';

const titles = [
  { title: 'CHANGE', side: 'right' as const },
  ...['STATE', 'WHAT', 'OWNER', 'BEGUN', 'ENDED', ''].map((title) => ({ title })),
];

const idOf = (call: Call): number =>
  wholeNumber(call.operand('CHANGE').replace(/^#/, ''), 'CHANGE', call.command.name);

/** `personactl change list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const { style } = call.out;
  const limit = call.number('limit');
  const all = call.has('all');
  const answer = await client.call('change.list', {
    ...(all && { all }),
    ...(limit !== undefined && { limit }),
  });
  call.out.result(answer, () => {
    if (answer.changes.length === 0) {
      call.out.note(
        all
          ? say`No changes yet.`
          : say`No change runs or needs attention; --all shows those that ended.`,
      );
      return [];
    }
    const now = call.io.now();
    const rows = answer.changes.map((one) => [
      style.bold(String(one.id)),
      changeState(one.status, style),
      one.summary,
      one.ownerUid === call.io.uid() ? 'you' : `uid ${one.ownerUid}`,
      ago(one.createdMs, now),
      one.endedMs === undefined ? '' : ago(one.endedMs, now),
      one.error === undefined ? '' : style.red(one.error.message),
    ]);
    return columns(titles, rows, style);
  });
}

/** `personactl change show` */
export async function show(call: Call): Promise<undefined> {
  const change = idOf(call);
  const client = await call.client();
  const answer = await client.call('change.show', { change });
  call.out.result(answer, () => changePageLines(answer.change, call.out));
}

/** `personactl change follow`: ends as the change ends. */
export async function follow(call: Call): Promise<number | undefined> {
  const change = idOf(call);
  const client = await call.client();
  try {
    const last = await watched(call, change, (onEvent) =>
      client.follow(change, (event) => {
        if (call.out.json) call.out.stream({ event }, () => []);
        onEvent(event);
      }),
    );
    const error = errorOf(last);
    if (error) throw error;
    if (!call.out.json) call.out.done(last, () => [say`Change ${change} is done.`]);
    return undefined;
  } catch (error) {
    if (error instanceof Detached) return sayDetached(call, error);
    throw error;
  }
}

/** Tells a change something, waits until it has ended, and shows how. */
async function told(
  call: Call,
  method: 'change.abort' | 'change.continue',
): Promise<number | undefined> {
  const change = idOf(call);
  const client = await call.client();
  try {
    const { change: page } = await watched(call, change, async (onEvent) => {
      const answer = await client.call(method, { change });
      if (isOver(answer.change.status)) return answer;
      await client.follow(change, onEvent);
      return client.call('change.show', { change });
    });
    call.out.done({ change: page }, () => [
      say`Change ${page.id} is ${changeState(page.status, call.out.style)}: ${page.summary}`,
    ]);
    const failed = page.status === 'failed' && method === 'change.continue';
    return failed || page.status.startsWith('stuck') ? exitStatus.failure : undefined;
  } catch (error) {
    if (error instanceof Detached) return sayDetached(call, error);
    throw error;
  }
}

/** `personactl change abort` */
export const abort = (call: Call) => told(call, 'change.abort');

/** `personactl change continue` */
export const resume = (call: Call) => told(call, 'change.continue');
