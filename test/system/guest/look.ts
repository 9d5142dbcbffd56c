/** Runs in a guest: prints all things with their states, and what is wrong by itself (JSON). */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, socketPaths } from '../../../ipc/client.ts';
import type { State } from '../../power-cut/ledger.ts';
import { shownState } from '../../power-cut/tree-state.ts';
import { done } from '../../support/done.ts';

const [run, state] = ['/run/persona', '/var/lib/persona'];
const client = await connect(socketPaths(run));
const things: Record<string, State> = {};
const faults: string[] = [];

const { bases } = await client.call('base.list', {});
for (const { name, digest } of bases) things[`base:${name}`] = { digest };
const { personas } = await client.call('persona.list', {});
for (const { name, digest } of personas) {
  things[`persona:${name}`] = { digest };
  const { ok } = (await done(client, 'persona.verify', { persona: name })) as { ok?: boolean };
  if (ok !== true) faults.push(`persona ${name} is not whole`);
}
const { slots } = await client.call('slot.list', {});
for (const { name, active, problem } of slots) {
  if (problem !== undefined) faults.push(`slot ${name}: ${problem}`);
  try {
    things[`slot:${name}`] =
      active === undefined ? { persona: null } : shownState(join(run, 'slots', name, 'root'));
  } catch (error) {
    faults.push(`slot ${name} cannot be read: ${String(error)}`);
  }
}
const { daemon, changes } = await client.call('daemon.status', {});
if (daemon.state !== 'ready') faults.push(`the daemon is ${daemon.state}: ${daemon.reason}`);
for (const { id, status } of changes)
  if (!['done', 'failed', 'aborted'].includes(status)) faults.push(`change ${id} is ${status}`);
const { checks } = await client.call('daemon.doctor', {});
for (const { name, state: found, detail } of checks)
  if (found !== 'ok') faults.push(`doctor: ${name}: ${detail}`);
client.close();

for (const place of ['staging', 'quarantine'])
  for (const name of readdirSync(join(state, place))) faults.push(`${place} holds ${name}`);
for (const name of readdirSync(join(state, 'layers')).filter((one) => one.endsWith('.erofs'))) {
  const digest = createHash('sha256').update(readFileSync(join(state, 'layers', name)));
  if (`sha256-${digest.digest('hex')}.erofs` !== name)
    faults.push(`the bytes of ${name} are not its`);
}
const known = new Set(slots.map(({ name }) => name));
for (const name of readdirSync(join(state, 'slots')).filter((one) => one !== 'lost+found'))
  if (!known.has(name)) faults.push(`slots/${name} is left`);

const mounts = readFileSync('/proc/1/mountinfo', 'utf8').split('\n');
const trees = mounts.filter((line) => line.includes(' - overlay persona:'));
const active = slots.filter((slot) => slot.active !== undefined).length;
if (trees.length !== active) faults.push(`${trees.length} trees for ${active} slots that show one`);
const byLoop = mounts.filter((line) => line.includes(' - erofs /dev/loop')).length;
const loops = readdirSync('/sys/block').filter((name) => {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').includes(state);
  } catch {
    return false;
  }
});
if (loops.length !== byLoop) faults.push(`${loops.length} loop devices for ${byLoop} mounts`);
const groups = readdirSync('/sys/fs/cgroup/personad.slice/personad.service', { recursive: true });
for (const name of groups.map(String))
  if (/(^|\/)(confined|walker|caller)-/.test(name) && !name.includes('.'))
    faults.push(`the group ${name} is left`);
for (const folder of ['/tmp', '/var/tmp'])
  for (const name of readdirSync(folder).filter((one) => one.startsWith('persona')))
    faults.push(`${folder}/${name} is left`);

process.stdout.write(JSON.stringify({ things, faults }));
