import { isOver } from '../../ipc/client.ts';
import type { ChangePage } from '../../ipc/methods/shapes.ts';
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

/** Watches a change that was just told something, until it has ended, and shows it. */
async function settled(call: Call, page: ChangePage): Promise<number | undefined> {
  const client = await call.client();
  if (!isOver(page.status)) {
    try {
      await watched(call, page.id, (onEvent) => client.follow(page.id, onEvent));
    } catch (error) {
      if (error instanceof Detached) return sayDetached(call, error);
      throw error;
    }
  }
  const answer = await client.call('change.show', { change: page.id });
  const { status } = answer.change;
  call.out.done(answer, () => [
    say`Change ${page.id} is ${changeState(status, call.out.style)}: ${answer.change.summary}`,
  ]);
  const failed =
    status.startsWith('stuck') || (status === 'failed' && call.command.name === 'change continue');
  return failed ? 1 : undefined;
}

/** `personactl change abort` */
export async function abort(call: Call): Promise<number | undefined> {
  const id = idOf(call);
  const client = await call.client();
  const { change } = await client.call('change.abort', { change: id });
  return settled(call, change);
}

/** `personactl change continue` */
export async function resume(call: Call): Promise<number | undefined> {
  const id = idOf(call);
  const client = await call.client();
  const { change } = await client.call('change.continue', { change: id });
  return settled(call, change);
}
