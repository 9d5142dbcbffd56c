import test from 'ava';
import { deadlineOf, inTime } from '../../ctl/deadline.ts';
import type { Method } from '../../ipc/method.ts';
import { type MethodName, methods } from '../../ipc/methods/index.ts';
import { wireLimits } from '../../ipc/protocol.ts';

test('the tool waits longer than the daemon, and for ever only for a change it follows', (t) => {
  for (const [name, method] of Object.entries(methods) as [MethodName, Method][]) {
    const ms = deadlineOf(name, {});
    if (method.kind === 'change') {
      t.is(deadlineOf(name, { wait: true }), undefined, name);
      t.true((ms ?? 0) > 60_000, name);
    } else {
      t.true((ms ?? 0) > (method.timeoutMs ?? wireLimits.callTimeoutMs), name);
    }
  }
});

test('inTime() rejects when nothing comes, and passes on what comes', async (t) => {
  await t.throwsAsync(inTime(new Promise(() => {}), 1, 'daemon.status'), { code: 'timed-out' });
  t.is(await inTime(Promise.resolve(1), 60_000, 'x'), 1);
  await t.throwsAsync(inTime(Promise.reject(new Error('no')), 60_000, 'x'), { message: 'no' });
});
