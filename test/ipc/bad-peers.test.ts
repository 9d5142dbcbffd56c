import { once } from 'node:events';
import { statSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { when } from '../support/needs.ts';
import { asUser, frame, goodClient, rawPeer, startServer } from './harness.ts';

const rooted = when(test, { root: true });
const otherUid = 54_321;

for (const [title, bytes] of Object.entries({
  garbage: '\0\xff{{{}}}\f',
  'a null frame': 'null\f',
  'an array': '[]\f',
  'a frame without type': '{}\f',
  'a type that is no text': '{"type":1}\f',
  'a lifecycle event': '{"type":"error","data":{}}\f',
  'the internal event': '{"type":"unknown-method","data":{"id":1}}\f',
  'an answer': '{"type":"reply","data":{"id":1,"result":{}}}\f',
  'a name of Object.prototype': '{"type":"constructor","data":{"id":1}}\f',
  'no data': '{"type":"test.echo"}\f',
  'null data': '{"type":"test.echo","data":null}\f',
  'an id that is no number': '{"type":"test.echo","data":{"id":"1","params":{}}}\f',
  'more fields than the envelope has': '{"type":"test.echo","data":{"id":1,"uid":0}}\f',
  'an oversized frame': `{"type":"test.echo","data":"${'x'.repeat(70_000)}"}\f`,
  'an oversized half frame': 'x'.repeat(70_000),
})) {
  rooted(`${title} cuts off the peer and disturbs nobody else`, async (t) => {
    const server = await startServer(t);
    const good = await goodClient(t, server.user);
    const bad = await rawPeer(t, server.user);
    bad.socket.write(bytes, 'latin1');
    await bad.closed;
    t.is(bad.text(), '');
    t.deepEqual(await good.call('test.echo', { text: 'ü\f' }), { text: 'ü\f' });
    t.is(server.process.exitCode, null);
  });
}

rooted('half a frame, no frame and silence are cut off in time', async (t) => {
  const limits = { frameTimeoutMs: 200, idleTimeoutMs: 400, sweepMs: 50 };
  const server = await startServer(t, limits);
  const half = await rawPeer(t, server.user);
  const silent = await rawPeer(t, server.user);
  const idle = await rawPeer(t, server.user);
  half.socket.write('{"type":"test.ec');
  idle.socket.write(frame('test.echo', 1, { text: 'a' }));
  await Promise.all([half.closed, silent.closed, idle.closed]);
  t.true(idle.text().includes('"text":"a"'));
});

rooted('a busy peer whose chunks never end on a frame is not cut off', async (t) => {
  const server = await startServer(t, { frameTimeoutMs: 1000, sweepMs: 20 });
  const peer = await rawPeer(t, server.user);
  const stream = Array.from({ length: 12 }, (_, n) => frame('test.echo', n, { text: 'x' })).join(
    '',
  );
  // Each write ends in the middle of a frame; the next one follows the answer to the last.
  const step = Math.ceil(stream.length / 12);
  const began = performance.now();
  for (let n = 0; n < 12; n += 1) {
    peer.socket.write(stream.slice(n * step, (n + 1) * step + (n === 11 ? step : 0)));
    if (n > 0) await peer.frames(n);
    while (performance.now() - began < n * 100) await new Promise((next) => setImmediate(next));
  }
  const answers = await peer.frames(12);
  t.is(answers.length, 12);
});

rooted('a request that waits keeps its connection open', async (t) => {
  const server = await startServer(t, { idleTimeoutMs: 100, sweepMs: 20 });
  const peer = await rawPeer(t, server.user);
  peer.socket.write(frame('test.hang', 1));
  const idle = await rawPeer(t, server.user);
  idle.socket.write(frame('test.echo', 1, { text: 'a' }));
  await idle.closed;
  const other = await goodClient(t, server.user);
  await other.call('test.release', {});
  t.deepEqual(await peer.frames(1), [{ id: 1, result: {} }]);
});

rooted('prototype keys pollute nothing', async (t) => {
  const server = await startServer(t);
  const peer = await rawPeer(t, server.user);
  const evil = '{"map":{"__proto__":"x","constructor":"y","a":"b"},"__proto__":{"polluted":1}}';
  peer.socket.write(`{"type":"test.record","data":{"id":1,"params":${evil}}}\f`);
  const [answer] = await peer.frames(1);
  const { result, error } = answer as { result?: { polluted: boolean }; error?: unknown };
  t.true(error !== undefined || result?.polluted === false);
  t.false(server.reports().includes('polluted'));
});

rooted('an unknown method is answered, then the peer is cut off', async (t) => {
  const server = await startServer(t);
  const peer = await rawPeer(t, server.user);
  peer.socket.write(frame('persona.fly', 7));
  await peer.closed;
  t.true(peer.text().includes('"unknown-method"'));
});

rooted('one user has 64 connections, and another is served meanwhile', async (t) => {
  const server = await startServer(t);
  const good = await goodClient(t, server.user);
  const body = frame('test.echo', 1, { text: 'a' });
  const many = await asUser(otherUid, server.user, 'connect', '70', body);
  t.deepEqual(many, { served: 64, refused: 6 });
  t.deepEqual(await good.call('test.echo', { text: 'b' }), { text: 'b' });
  // Its places are free again when it is gone.
  t.deepEqual(await asUser(otherUid, server.user, 'connect', '1', body), {
    served: 1,
    refused: 0,
  });
});

rooted('the ninth open request of a user is refused, and the others go on', async (t) => {
  const server = await startServer(t);
  const good = await goodClient(t, server.user);
  const hangs = Array.from({ length: 9 }, (_, n) => frame('test.hang', n + 1)).join('');
  const answer = asUser(otherUid, server.user, 'send', '9', hangs);
  let released = 0;
  while (released < 8)
    released += Number(((await good.call('test.release', {})) as { released: number }).released);
  const { text } = (await answer) as { text: string };
  t.is(text.split('"too-many-requests"').length - 1, 1);
  t.is(text.split('"result"').length - 1, 8);
});

rooted('a peer that never reads its answers is cut off', async (t) => {
  const server = await startServer(t, { stallTimeoutMs: 200, sweepMs: 50 });
  const good = await goodClient(t, server.user);
  const deaf = await rawPeer(t, server.user);
  deaf.socket.pause();
  for (let n = 0; n < 3; n += 1) deaf.socket.write(frame('test.big', n, { bytes: 1_000_000 }));
  while (!server.reports().includes('not reading')) await good.call('test.echo', { text: '' });
  t.pass();
});

rooted('answers above the pending limit cut the peer off at once', async (t) => {
  const server = await startServer(t, { pendingBytesMax: 1_500_000 });
  const deaf = await rawPeer(t, server.user);
  deaf.socket.pause();
  for (let n = 0; n < 6; n += 1) deaf.socket.write(frame('test.big', n, { bytes: 700_000 }));
  deaf.socket.once('end', () => {});
  const good = await goodClient(t, server.user);
  t.deepEqual(await good.call('test.echo', { text: 'b' }), { text: 'b' });
  deaf.socket.resume();
  await deaf.closed;
  t.true(deaf.text().length < 6 * 700_000);
});

rooted('a flood of requests is refused, then cut off', async (t) => {
  const server = await startServer(t, { rootFactor: 1 });
  const peer = await rawPeer(t, server.user);
  const hangs = Array.from({ length: 8 }, (_, n) => frame('test.hang', n)).join('');
  peer.socket.write(hangs + frame('test.echo', 9, { text: '' }).repeat(1000));
  await peer.closed;
  const requests = peer.text().split('"too-many-requests"').length - 1;
  t.true(requests <= 256);
  t.is(server.reports().split('refused 0 test.echo').length - 1, requests, 'each is told of');
});

rooted('a change goes on when its peer disconnects', async (t) => {
  const server = await startServer(t);
  const good = await goodClient(t, server.user);
  const peer = await rawPeer(t, server.user);
  peer.socket.write(frame('test.change', 1, { wait: true }) + frame('test.echo', 2, { text: '' }));
  await peer.frames(1);
  peer.socket.destroy();
  await good.call('test.release', {});
  t.deepEqual(await good.call('test.count', {}), { done: 1 });
});

rooted('a throwing, late or lying handler answers with an error', async (t) => {
  const server = await startServer(t);
  const good = await goodClient(t, server.user);
  await t.throwsAsync(good.call('test.throw', {}), { code: 'internal' });
  await t.throwsAsync(good.call('test.lie', {}), {
    code: 'internal',
    message: /breaks the contract/,
  });
  await t.throwsAsync(good.call('test.late', {}), { code: 'timed-out' });
  await t.throwsAsync(good.call('test.big', { bytes: 5_000_000 }), { code: 'reply-too-large' });
  await t.throwsAsync(good.call('test.echo', { text: 1 }), {
    code: 'bad-request',
    message: /text: /,
  });
  await t.throwsAsync(good.call('test.echo', { text: '', more: 1 }), { code: 'bad-request' });
  t.deepEqual(await good.call('test.echo', { text: 'still here' }), {
    text: 'still here',
  });
});

rooted('a peer that ended its side still gets its answers', async (t) => {
  const server = await startServer(t);
  const peer = await rawPeer(t, server.user);
  peer.socket.end(frame('test.hang', 1));
  const good = await goodClient(t, server.user);
  while ((await good.call('test.release', {})).released === 0);
  t.deepEqual(await peer.frames(1), [{ id: 1, result: {} }]);
  await peer.closed;
});

rooted('the caller is who the kernel says', async (t) => {
  const server = await startServer(t);
  const { text } = (await asUser(otherUid, server.user, 'send', '1', frame('test.who', 1))) as {
    text: string;
  };
  t.true(text.includes(`"uid":${otherUid},"socket":"user"`));
});

rooted('the control socket lets nobody in but root and its group', async (t) => {
  const server = await startServer(t);
  t.is(statSync(server.control).mode & 0o7777, 0o660);
  t.is(statSync(server.user).mode & 0o7777, 0o666);
  const { text } = (await asUser(otherUid, server.control, 'send', '1', '')) as { text: string };
  t.is(text, 'EACCES');
});

rooted('a ticket line reaches the raw door, on the control socket only', async (t) => {
  const server = await startServer(t);
  const peer = await rawPeer(t, server.control);
  peer.socket.write('TICK');
  peer.socket.write('ET abcdefgh12\nfirst bytes');
  await once(peer.socket, 'end');
  t.like(JSON.parse(peer.text()), { ticket: 'abcdefgh12', uid: 0 });
  const wrong = await rawPeer(t, server.user);
  wrong.socket.write('TICKET abcdefgh12\n\f');
  await wrong.closed;
  t.is(wrong.text(), '');
  const endless = await rawPeer(t, server.control);
  endless.socket.write(`TICKET ${'a'.repeat(500)}`);
  await endless.closed;
  t.pass();
});

rooted('no bytes whatever end the server or disturb a good client', async (t) => {
  const server = await startServer(t);
  const good = await goodClient(t, server.user);
  const known = fc.constantFrom(
    ...['{"type":"test.echo","data":', '{"id":1,', '"params":', '{"text":"a"}', '}', '}\f', '\f'],
    ...['TICKET ', 'null', '"__proto__"', ':', '[', '\ud800', '\0', '1e999', '-0', '{}\f'],
  );
  const bytes = fc.oneof(
    known.map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 40 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 12 }), async (pieces) => {
      const bad = await rawPeer(t, server.control);
      for (const piece of pieces) bad.socket.write(piece);
      bad.socket.end();
      await bad.closed;
      return (await good.call('test.echo', { text: 'x' })).text === 'x';
    }),
    { numRuns: 200 },
  );
  t.is(server.process.exitCode, null);
});
