import * as v from 'valibot';
import { listenAt } from '../../daemon/kernel/listen.ts';
import { peerOf } from '../../daemon/kernel/peer.ts';
import { change, sync } from '../../ipc/method.ts';
import { createServer } from '../../ipc/server.ts';

// A real server with a small table of its own, in a process of its own: an exception that leaves a
// handler would end it, and the tests would see that. Arguments: folder, limits as JSON.

const [folder = '', limitsText = '{}'] = process.argv.slice(2);

const methods = {
  'test.echo': sync('any', 'Echoes.', { text: v.string() }, { text: v.string() }),
  'test.hang': sync('any', 'Waits.', {}, {}, { timeoutMs: 60_000 }),
  'test.late': sync('any', 'Is late.', {}, {}, { timeoutMs: 50 }),
  'test.throw': sync('any', 'Throws.', {}, {}),
  'test.lie': sync('any', 'Breaks its promise.', {}, { number: v.number() }),
  'test.big': sync('any', 'Answers much.', { bytes: v.number() }, { text: v.string() }),
  'test.who': sync('any', 'Says who calls.', {}, { uid: v.number(), socket: v.string() }),
  'test.release': sync('any', 'Ends all that hang.', {}, { released: v.number() }),
  'test.record': sync(
    'any',
    'Takes a record.',
    { map: v.record(v.string(), v.string()) },
    {
      polluted: v.boolean(),
      keys: v.array(v.string()),
    },
  ),
  'test.count': sync('any', 'Counts finished changes.', {}, { done: v.number() }),
  'test.change': change('any', 'Ends when told to.', {}, {}),
};

const hanging = new Set<() => void>();
let done = 0;
const hang = () =>
  new Promise<void>((resolve) => {
    const end = () => {
      hanging.delete(end);
      resolve();
    };
    hanging.add(end);
  });

const server = createServer({
  methods,
  limits: JSON.parse(limitsText),
  now: () => performance.now(),
  report: (what, facts) => process.stderr.write(`${what} ${JSON.stringify(facts)}\n`),
  refused: ({ uid }, asked) =>
    process.stderr.write(`refused ${uid} ${asked === undefined ? 'all' : asked.method}\n`),
  bulk: (socket, ticket, caller, rest) =>
    socket.end(JSON.stringify({ ticket, uid: caller.uid, rest: rest.toString() })),
  async call(method, params, context) {
    if (method === 'test.echo') return params;
    if (method === 'test.throw') return JSON.parse('{');
    if (method === 'test.lie') return { number: 'seven', extra: 1 };
    if (method === 'test.big') return { text: 'x'.repeat((params as { bytes: number }).bytes) };
    if (method === 'test.who') return { uid: context.caller.uid, socket: context.caller.socket };
    if (method === 'test.count') return { done };
    if (method === 'test.record') {
      const { map } = params as { map: Record<string, string> };
      const polluted = ({} as Record<string, unknown>).polluted !== undefined;
      return { polluted, keys: Object.keys(map) };
    }
    if (method === 'test.release') {
      const released = hanging.size;
      for (const end of [...hanging]) end();
      return { released };
    }
    await hang();
    if (method !== 'test.change') return {};
    done += 1;
    return { changeId: done };
  },
});

for (const socket of ['user', 'control'] as const)
  await listenAt(`${folder}/${socket}.sock`, { mode: socket === 'user' ? 0o666 : 0o660 }, (peer) =>
    server.accept(peer, { ...peerOf(peer), socket }),
  );
process.stdout.write('ready\n');
process.stdin.on('end', () => process.exit(0)).resume();
