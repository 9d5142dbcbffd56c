import type { ExecutionContext } from 'ava';
import type { Machine } from '../../../scripts/machine/machine.ts';
import { program } from './guest-programs.ts';

/** The state tree; nobody but root may ever look into it (SECURITY 5). */
const state = '/var/lib/persona';
export const slotTree = '/run/persona/slots/work/root';

/** Emulated and on a busy host: a tool that takes a second elsewhere may take half a minute here. */
export const slowMs = 240_000;

/** Accounts of the guest: a member of the group who owns the slot `work`, another member, and an ordinary user. */
export const accounts = { owner: 'alice', other: 'bob', user: 'carol' } as const;

/** Runs the tool; throws unless it succeeds. */
export const tool = (vm: Machine, words: string, user?: string): Promise<string> =>
  vm.must(`personactl ${words}`, { deadlineMs: slowMs, ...(user === undefined ? {} : { user }) });

/** What the tool answers with --json. */
export async function asked<T>(vm: Machine, words: string): Promise<T> {
  return JSON.parse(await tool(vm, `${words} --json`)) as T;
}

/** A base, the personas `a` and `b`, and the slot `work` of `alice` that shows `a`. */
export async function populate(vm: Machine): Promise<void> {
  await vm.must(`usermod -aG persona ${accounts.owner} && usermod -aG persona ${accounts.other}`);
  await vm.must([...program('make-trees'), '/root/trees'], { deadlineMs: slowMs });
  await tool(vm, 'base import base --from /root/trees/base');
  for (const name of ['a', 'b'])
    await tool(vm, `persona create ${name} --base base --from-tree /root/trees/${name}`);
  await tool(vm, 'slot create work', accounts.owner);
  await tool(vm, 'swap work a', accounts.owner);
}

/** Fails unless an ordinary user finds nothing of the state tree. */
export async function expectHidden(t: ExecutionContext, vm: Machine): Promise<void> {
  const { status, stdout } = await vm.run(['find', state], { user: accounts.user });
  t.not(status, 0, 'the state tree is closed');
  t.is(stdout.trim(), state);
}

/** Waits until `question` answers true. */
export async function until(what: string, question: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + slowMs;
  while (!(await question()))
    if (performance.now() > deadline) throw new Error(`not within ${slowMs} ms: ${what}`);
}

/** What a reader has seen. */
export interface Readings {
  reads: number;
  seen: string[];
  failures: string[];
}

/** Starts a reader of the slot's `etc/name` as a unit with these properties; `end` tells what it saw. */
export async function startReader(
  vm: Machine,
  name: string,
  ...properties: string[]
): Promise<{ pid: number; end(): Promise<Readings> }> {
  const report = `/run/reader-${name}.json`;
  const set = properties.map((one) => `--property=${one}`);
  const words = program('reader');
  await vm.must(['rm', '-f', report, `${report}.begun`]);
  await vm.must([
    ...['systemd-run', `--unit=reader-${name}`, ...set],
    ...[...words, `${slotTree}/etc/name`, report],
  ]);
  const exists = async (path: string) => (await vm.run(['test', '-e', path])).status === 0;
  await until(`reader ${name} has begun`, () => exists(`${report}.begun`));
  const pid = Number(await vm.must(`systemctl show -P MainPID reader-${name}.service`));
  return {
    pid,
    async end() {
      await vm.must(`systemctl stop reader-${name}.service`, { deadlineMs: slowMs });
      return JSON.parse(await vm.must(['cat', report])) as Readings;
    },
  };
}
