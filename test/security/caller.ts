import { readFileSync } from 'node:fs';
import { upload } from '../../ctl/transfer.ts';
import { connect, socketPaths } from '../../ipc/client.ts';
import { toWire } from '../../ipc/errors.ts';
import type { MethodName, Params } from '../../ipc/methods/index.ts';

// A caller of another user: UID GROUPS RUN-FOLDER; requests as JSON on standard input, what each gave as
// JSON on standard output. An upload is sent before its request, which names it as TICKET.

const [uid = '', groups = '', run = ''] = process.argv.slice(2);
const asked = JSON.parse(readFileSync(0, 'utf8')) as [MethodName, unknown, string?][];
process.setgroups?.(groups === '' ? [] : groups.split(',').map(Number));
process.setgid?.(Number(uid));
process.setuid?.(Number(uid));

const client = await connect(socketPaths(run));
const given: unknown[] = [];
for (const [method, wanted, bytes] of asked) {
  try {
    let params = wanted;
    if (bytes !== undefined) {
      const { ticket } = await client.call('bulk.open', {
        direction: method.startsWith('enclave.') ? 'secret' : 'up',
      });
      const data = async function* () {
        yield Buffer.from(bytes, 'base64');
      };
      await upload(client.path, ticket, data(), () => {});
      params = JSON.parse(JSON.stringify(wanted).replaceAll('TICKET', ticket));
    }
    given.push({ result: await client.call(method, params as Params<typeof method>) });
  } catch (error) {
    given.push({ error: toWire(error) });
  }
}
process.stdout.write(JSON.stringify(given), () => client.close());
