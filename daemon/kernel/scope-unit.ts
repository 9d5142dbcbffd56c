import type { Hierarchy } from './cgroups.ts';
import { DbusReader, type DbusValue, DbusWriter } from './dbus-message.ts';
import { failedWith, KernelError } from './errno.ts';
import { isStill, type OwnedProcess, placeBy } from './placed-process.ts';
import { SystemBus } from './system-bus.ts';

const MANAGER = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
} as const;
/** A manager that answers does so in some milliseconds; a busy one gets this long. */
const DEADLINE_MS = 4_000;

/** The unit of this daemon. */
const SERVICE = 'personad.service';

/** What a group of programs is to have beside others: properties of systemd, absent where nothing is asked for. */
export interface Weights {
  /** 1 to 10000; every group starts with 100. */
  cpuWeight?: number;
  ioWeight?: number;
  /** Bytes that are not taken from it as long as others have some to give. */
  memoryLow?: number;
}

/** A unit that is asked of the service manager, for a process that runs already. */
export interface ScopeUnit {
  name: string;
  slice: string;
  description: string;
  weights: Weights;
}

/** A word as part of a unit's name: what has a meaning there is written as a code (systemd-escape(1)). Pure. */
export function escapeUnit(word: string): string {
  return word.replace(/[^A-Za-z0-9:_.]|^\./g, (one) =>
    [...Buffer.from(one)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

/** The word that `escapeUnit` has written. Pure. */
export const unescapeUnit = (text: string): string =>
  text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));

function propertiesOf({ slice, description, weights }: ScopeUnit, pid: number) {
  const { cpuWeight, ioWeight, memoryLow } = weights;
  const all: [string, DbusValue][] = [
    ['Description', { type: 's', value: description }],
    ['Slice', { type: 's', value: slice }],
    ['PIDs', { type: 'au', value: [pid] }],
    // At shutdown it ends before the daemon, which then has the last word of what it wrote in memory.
    ['After', { type: 'as', value: [SERVICE] }],
    ['CollectMode', { type: 's', value: 'inactive-or-failed' }],
    // Without it no further process may be attached.
    ['Delegate', { type: 'b', value: true }],
    // What it reads from disks is counted.
    ['IOAccounting', { type: 'b', value: true }],
  ];
  for (const [name, value] of [
    ['CPUWeight', cpuWeight],
    ['IOWeight', ioWeight],
    ['MemoryLow', memoryLow],
  ] as const)
    if (value !== undefined) all.push([name, { type: 't', value }]);
  return all;
}

/** Asks for the unit, and waits until the process is in it. */
export async function startScope(bus: SystemBus, unit: ScopeUnit, pid: number): Promise<boolean> {
  const ended = new Map<string, string>();
  const heard = Promise.withResolvers<void>();
  let job: string | undefined;
  const { destination: name, path: at, interface: of } = MANAGER;
  bus.listen({ name, path: at, interface: of, member: 'JobRemoved' }, ({ body }) => {
    const reader = new DbusReader(body);
    reader.u32();
    const path = reader.text();
    reader.text();
    // A job may end before the answer that names it.
    if (job === undefined ? ended.size < 1024 : path === job) ended.set(path, reader.text());
    if (path === job) heard.resolve();
  });
  const body = new DbusWriter()
    .text(unit.name)
    .text('fail')
    .properties(propertiesOf(unit, pid))
    .array(8, () => undefined)
    .bytes();
  const signature = 'ssa(sv)a(sa(sv))';
  const answer = await bus.call({ ...MANAGER, member: 'StartTransientUnit', signature, body });
  job = new DbusReader(answer.body).text();
  if (!ended.has(job)) await Promise.race([heard.promise, bus.failure()]);
  const result = ended.get(job);
  if (result !== 'done') throw new KernelError('start', 'ECANCELED', `${unit.name}: ${result}`);
  return true;
}

/** Moves a further process into the unit. */
async function attach(bus: SystemBus, unit: string, pid: number): Promise<boolean> {
  const body = new DbusWriter()
    .text(unit)
    .text('')
    .array(4, (inside) => inside.u32(pid))
    .bytes();
  await bus.call({ ...MANAGER, member: 'AttachProcessesToUnit', signature: 'ssau', body });
  return true;
}

/**
 * Has the service manager put a process, and what it has forked meanwhile, into a unit of its own. False when it was not put
 * there: it has ended, or is somebody else by now.
 */
export async function placeInScope(
  unit: ScopeUnit,
  hierarchy: Hierarchy,
  process: OwnedProcess,
): Promise<boolean> {
  using bus = new SystemBus(DEADLINE_MS);
  const movers = {
    first: (pid: number) => startScope(bus, unit, pid),
    more: (pid: number) => attach(bus, unit.name, pid),
  };
  try {
    return await placeBy(movers, hierarchy, process);
  } catch (error) {
    // Nothing is wrong with the manager where there is nobody to move any more.
    if (!isStill(process)) return false;
    throw error;
  }
}

/** Ends a unit whose last process had ended before it was moved there: the manager hears nothing of it. */
export async function endEmptyScope(unit: string): Promise<void> {
  using bus = new SystemBus(DEADLINE_MS);
  const body = new DbusWriter().text(unit).text('replace').bytes();
  try {
    await bus.call({ ...MANAGER, member: 'StopUnit', signature: 'ss', body });
  } catch (error) {
    if (!failedWith(error, 'NoSuchUnit')) throw error;
  }
}
