import {
  asUser,
  done,
  group,
  type LiveDaemon,
  privateTree,
  type Scope,
  startLive,
  users,
} from './live-daemon.ts';
import { changedCopy, programTree } from './trees.ts';

/** What most tests begin with. */
export interface Place {
  daemon: LiveDaemon;
  root: string;
  base: string;
}

/** A daemon with a base, two personas (one with variables), and a slot of `owner` that shows one of them. */
export async function populated(t: Scope, inherited: readonly number[] = []): Promise<Place> {
  return await furnish(await startLive(t, privateTree(t), inherited));
}

/** The same, on a daemon that runs. */
export async function furnish(daemon: LiveDaemon): Promise<Place> {
  const { root } = daemon;
  const base = programTree(root, 'base');
  const client = await daemon.client();
  await done(client, 'base.import', { name: 'base', source: { kind: 'path', path: base } });
  for (const name of ['a', 'b'])
    await done(client, 'persona.create', {
      name,
      base: 'base',
      tree: { kind: 'path', path: changedCopy(base, root, name) },
      environment: { WORD: 'canary-of-environment' },
    });
  const [created] = await asUser(users.owner, [group.gid], daemon.run, [
    ['slot.create', { name: 'work', wait: true }],
  ]);
  if (created?.error !== undefined) throw new Error(created.error.message);
  await done(client, 'slot.swap', { slot: 'work', persona: 'a' });
  return { daemon, root, base };
}
