/**
 * Runs in a guest, as the user whose rights are asked: makes the calls that it is given (JSON on its input) and prints
 * for each `ok` or the code of the error.
 */
import { readFileSync } from 'node:fs';
import { connect, socketPaths } from '../../../ipc/client.ts';
import { toWire } from '../../../ipc/errors.ts';

const asked = JSON.parse(readFileSync(0, 'utf8')) as [string, object][];
const client = await connect(socketPaths('/run/persona'));
const codes: string[] = [];
for (const [method, params] of asked) {
  try {
    await client.call(method as never, params as never);
    codes.push('ok');
  } catch (error) {
    codes.push(toWire(error).code);
  }
}
client.close();
process.stdout.write(JSON.stringify(codes));
