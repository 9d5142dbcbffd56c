import type { Client } from '../../../ipc/client.ts';

/** The daemon is told of `/usr/bin/paint`, whose data may lie in memory. */
export async function knowPaint(client: Client): Promise<void> {
  const set = {
    profile: 'fast' as const,
    executables: ['/usr/bin/paint'],
    data: ['~/.paint'],
    lossOk: true,
  };
  await client.call('app.set', { app: 'paint', everybody: true, set, wait: true });
}
