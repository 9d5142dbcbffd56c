import { readFileSync } from 'node:fs';
import { connect, socketPaths } from '../../../ipc/client.ts';
import { toWire } from '../../../ipc/errors.ts';
import type { MethodName, Params } from '../../../ipc/methods/index.ts';

// A caller of another user: UID GROUPS RUN-FOLDER; requests as JSON on standard input, one outcome each
// on standard output: "ok" or the code of the error.

const [uid = '', groups = '', run = ''] = process.argv.slice(2);
const requests = JSON.parse(readFileSync(0, 'utf8')) as [MethodName, unknown][];
process.setgroups?.(groups === '' ? [] : groups.split(',').map(Number));
process.setgid?.(Number(uid));
process.setuid?.(Number(uid));

const client = await connect(socketPaths(run));
const outcomes: string[] = [];
for (const [method, params] of requests) {
  try {
    await client.call(method, params as Params<typeof method>);
    outcomes.push('ok');
  } catch (error) {
    outcomes.push(toWire(error).code);
  }
}
process.stdout.write(JSON.stringify(outcomes));
client.close();
