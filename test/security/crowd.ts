import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { delimiter } from '../../ipc/protocol.ts';

// Many users in one process: SOCKET FIRST COUNT METHOD. Each connects and asks once, without parameters: one line of JSON for each, when it
// is answered or cut off. From the first line of input on, requests as JSON, each asks for all of them over and over, and
// connects again whenever it is cut off; a line says when some were answered, some refused and some cut off. With the end of the input it prints how often what came, and ends.

const [path = '', first = '', count = '', once = ''] = process.argv.slice(2);
/** A frame from the daemon, as far as it counts here. */
interface Frame {
  type: string;
  data: { id: number; result?: unknown; error?: unknown };
}
let flood: readonly [method: string, params: unknown][] | undefined;
const came = { answers: 0, refusals: 0, cuts: 0 };

/** Says once that the flood is under way: everything that can come has come. */
function note(what: keyof typeof came): void {
  const before = Object.values(came).every((times) => times > 0);
  came[what] += 1;
  if (!before && Object.values(came).every((times) => times > 0)) console.log('{"flooding":true}');
}

/** Who connects is who the process is at this moment: the kernel keeps that with the connection. */
function connectAs(uid: number): Socket {
  process.seteuid?.(uid);
  try {
    return createConnection(path);
  } finally {
    process.seteuid?.(0);
  }
}

/** One of the users: what makes it join the flood. */
function user(uid: number): () => void {
  let connection: Socket | undefined;
  const ask = (id: number) => {
    const [type, params] = flood === undefined ? [once, {}] : (flood[id] ?? []);
    connection?.write(JSON.stringify({ type, data: { id, params } }) + delimiter);
  };
  const say = (what: object) => process.stdout.write(`${JSON.stringify({ uid, ...what })}\n`);
  const join = () => {
    if (connection === undefined) begin();
    else for (const id of flood?.keys() ?? []) ask(id);
  };
  const heard = ({ type, data: { id, ...what } }: Frame) => {
    if (type !== 'reply') return;
    if (flood === undefined) return say(what);
    note(what.error === undefined ? 'answers' : 'refusals');
    ask(id);
  };
  const begin = () => {
    const fresh = connectAs(uid).setEncoding('utf8');
    connection = fresh;
    let rest = '';
    fresh.on('data', (piece: string) => {
      const frames = (rest + piece).split(delimiter);
      rest = frames.pop() ?? '';
      for (const frame of frames) heard(JSON.parse(frame) as Frame);
    });
    fresh.on('error', () => {});
    fresh.on('close', () => {
      connection = undefined;
      if (flood === undefined) return say({ cut: true });
      note('cuts');
      setImmediate(begin);
    });
    if (flood === undefined) ask(0);
    else join();
  };
  begin();
  return join;
}

process.setgroups?.([]);
process.setegid?.(Number(first));
const all = Array.from({ length: Number(count) }, (_, n) => user(Number(first) + n));
createInterface({ input: process.stdin })
  .once('line', (line) => {
    flood = JSON.parse(line) as typeof flood;
    for (const join of all) join();
  })
  .once('close', () => process.stdout.write(`${JSON.stringify(came)}\n`, () => process.exit()));
