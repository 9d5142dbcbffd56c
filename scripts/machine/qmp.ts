/** Asks qemu itself: one connection for a few commands of its machine protocol. */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const answerMs = 30_000;

export type Ask = (command: string, values?: object) => Promise<unknown>;

interface Message {
  return?: unknown;
  error?: { desc: string };
  id?: number;
}

/**
 * Hands `work` a function that gives qemu a command and returns its answer; the connection ends with it. Throws what
 * qemu refuses, and when it does not answer.
 */
export async function askQemu<T>(path: string, work: (ask: Ask) => Promise<T>): Promise<T> {
  const socket = connect(path);
  const waiting = new Map<number, (message: Message) => void>();
  const gone = new Promise<never>((_, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('qemu ended the connection')));
  });
  gone.catch(() => undefined);
  createInterface({ input: socket }).on('line', (line) => {
    const message = JSON.parse(line) as Message;
    if (message.id !== undefined) waiting.get(message.id)?.(message);
  });
  let last = 0;
  const ask: Ask = async (execute, values = {}) => {
    last += 1;
    const id = last;
    const late = AbortSignal.timeout(answerMs);
    const answer = new Promise<Message>((resolve, reject) => {
      waiting.set(id, resolve);
      late.addEventListener('abort', () => reject(new Error(`qemu does not answer ${execute}`)));
    });
    socket.write(`${JSON.stringify({ execute, arguments: values, id })}\n`);
    const message = await Promise.race([answer, gone]);
    if (message.error !== undefined) throw new Error(`qemu: ${execute}: ${message.error.desc}`);
    return message.return;
  };
  try {
    await ask('qmp_capabilities');
    return await work(ask);
  } finally {
    socket.destroy();
  }
}
