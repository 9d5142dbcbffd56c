import { resolve } from 'node:path';
import { connect, socketPaths } from '../../ipc/client.ts';
import { PersonaError } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import { type Call, runFolder } from '../call.ts';
import { runChange } from '../change.ts';
import { patient } from '../deadline.ts';
import { say } from '../print/safe.ts';
import { amount } from './backup.ts';

type Status = Answer<'daemon.status'>;

/** How long the daemon may take to start anew: it brings slots back meanwhile. */
const startMs = 120_000;
const pollMs = 100;

/** `personactl restore`: the daemon reads the file itself, for it is root like the caller. */
export async function restore(call: Call): Promise<number | undefined> {
  const params = {
    file: resolve(call.io.cwd(), call.operand('FILE')),
    ...(call.has('replace') && { replace: true }),
    ...(call.has('end-slots') && { endSlots: true }),
  };
  const client = await call.client();
  const { daemon } = await client.call('daemon.status', {});
  return runChange(call, 'system.restore', params, async (outcome) => {
    const { host, bases, personas, slots } = outcome.result;
    const status = await restarted(call, daemon.startedMs);
    call.out.done(outcome, () => {
      const { style } = call.out;
      const counts = [
        amount(bases, 'base'),
        amount(personas, 'persona'),
        amount(slots.length, 'slot'),
      ].join(', ');
      const kept = status?.notices.findLast(({ command }) => command?.startsWith('rm -r '));
      return [
        say`The state of ${style.bold(host)} is back: ${counts}.`,
        status === undefined
          ? say`The daemon is starting with it: see \`personactl status\`.`
          : say`The daemon is ${status.daemon.state}.`,
        ...(kept === undefined ? [] : [say`${kept.text}`]),
      ];
    });
    return status !== undefined && status.daemon.state === 'degraded' ? 1 : undefined;
  });
}

/** The status of the daemon that started after this one; undefined when none answers in time. */
async function restarted(call: Call, beforeMs: number): Promise<Status | undefined> {
  const deadline = performance.now() + startMs;
  while (performance.now() < deadline) {
    const status = await statusNow(call);
    if (status !== undefined && status.daemon.startedMs !== beforeMs) return status;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return undefined;
}

async function statusNow(call: Call): Promise<Status | undefined> {
  try {
    const client = patient(await connect(socketPaths(runFolder(call.io.env))));
    try {
      return await client.call('daemon.status', {});
    } finally {
      client.close();
    }
  } catch (error) {
    // Between two daemons nobody answers.
    if (error instanceof PersonaError) return undefined;
    throw error;
  }
}
