import { dirname, join } from 'node:path';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Decision as DecisionPage, MemoryPage, SidePage } from '../../ipc/methods/shapes.ts';
import type { Rooms } from '../api/rooms.ts';
import { pageGenerations } from '../kernel/page-generations.ts';
import type { Decision } from '../partitions/loop.ts';
import { type Side, sides, waiting } from '../partitions/observation.ts';
import type { OomdKill } from '../partitions/oomd-settings.ts';
import { otherManagers, runsHere } from '../partitions/other-managers.ts';
import { policies } from '../partitions/policies/index.ts';
import { hostWaiting } from '../partitions/recorder.ts';
import type { PartitionsRoom } from '../partitions/room.ts';
import type { Check } from '../system/doctor.ts';
import type { Governor } from './space.ts';

type PartitionMethods = Pick<Rooms, Extract<keyof Rooms, `partitions.${string}`>>;

/** What is shown is not older; whoever asks more often gets the same. */
const freshMs = 500;
const steps = { '10s': 10_000, '1min': 60_000, '15min': 900_000, '24h': 86_400_000 } as const;

function choiceOf({ loop }: PartitionsRoom) {
  const { manage, policy } = loop.choice;
  const { obstacle } = loop;
  return {
    mode: manage ? ('manage' as const) : ('observe' as const),
    managed: loop.manages,
    ...(manage && obstacle !== undefined ? { obstacle } : {}),
    policy: policy.name,
  };
}

function sidePage({ loop, places }: PartitionsRoom, side: Side): SidePage {
  const seen = loop.last?.sides[side];
  const group = places.groups[side];
  if (loop.last === undefined || seen === undefined) return { side, group, present: false };
  const waited = waiting(loop.before, loop.last, side)?.some;
  const ioWaited = waiting(loop.before, loop.last, side, 'ioPressure')?.some;
  const { currentBytes, anonBytes, fileBytes, shmemBytes, swapBytes, low, high } = seen;
  return {
    side,
    group,
    present: true,
    currentBytes,
    ...(anonBytes === undefined ? {} : { anonBytes }),
    ...(fileBytes === undefined ? {} : { fileBytes }),
    ...(shmemBytes === undefined ? {} : { shmemBytes }),
    ...(swapBytes === undefined ? {} : { swapBytes }),
    ...(waited === undefined ? {} : { waiting: waited }),
    ...(ioWaited === undefined ? {} : { ioWaiting: ioWaited }),
    ...(low === undefined ? {} : { low }),
    ...(high === undefined ? {} : { high }),
  };
}

const settingText = ({ setting, limitPercent }: OomdKill): string =>
  setting === 'ManagedOOMSwap'
    ? `once swap is nearly full (${setting}=kill), and limits that are set here fill it`
    : `once they wait for memory too long (${setting}=kill, limit ${limitPercent === undefined ? 'of oomd.conf' : `${limitPercent} %`}), as limits that are set here may make them`;

const killText = (kill: OomdKill): string =>
  `systemd-oomd is to end programs of ${kill.unit} ${settingText(kill)}`;

/** What a person should know about the numbers. */
export function remarksOf(
  room: Pick<PartitionsRoom, 'places' | 'loop' | 'leases' | 'io'>,
  kills: readonly OomdKill[],
): string[] {
  const { places, loop, leases } = room;
  const { memory, recursive, hardLimits } = places;
  const remarks: string[] = [];
  if (leases.problem !== undefined) remarks.push(leases.problem);
  if (leases.unguarded !== undefined) remarks.push(leases.unguarded);
  if (memory === undefined)
    remarks.push('no cgroup hierarchy with the memory controller: the sides cannot be seen');
  if (memory?.version === 1)
    remarks.push(
      hardLimits
        ? 'cgroup version 1: there is no protection, and limits are hard ones, set to what a side uses and 512 MiB more at least; without free swap there are none'
        : 'cgroup version 1 has hard limits only: memory is observed, not managed (partitions.hard_limits = "on" lets it be)',
    );
  if (memory?.version === 2 && !recursive)
    remarks.push(
      'the cgroup mount lacks memory_recursiveprot: a protection does not reach the groups inside a side',
    );
  if (memory?.version === 2 && pageGenerations())
    remarks.push(
      'this kernel keeps pages by generations, and takes from a protected side what the other one does not give at once: `echo n > /sys/kernel/mm/lru_gen/enabled` makes protections count',
    );
  if (loop.last !== undefined && loop.last.pressure === undefined)
    remarks.push('this kernel keeps no pressure files (psi=1 turns them on)');
  for (const { text, fix } of ioProblems(room)) remarks.push(`${text}. ${fix}`);
  return [...remarks, ...otherManagers(places), ...kills.map(killText)];
}

/** What of memory wants a person, for the status page. */
export function memoryNotices({
  loop,
  leases,
}: Pick<PartitionsRoom, 'loop' | 'leases'>): { text: string; command: string }[] {
  const { obstacle, choice, manages } = loop;
  const command = 'personactl partitions show';
  const left = manages ? [] : leases.all().map(({ group, knob }) => `${group}/${knob}`);
  return [
    ...(choice.manage && obstacle !== undefined
      ? [{ text: `memory is not managed: ${obstacle}`, command }]
      : []),
    ...(left.length > 0
      ? [{ text: `not given back yet, and tried again: ${left.join(', ')}`, command }]
      : []),
  ];
}

/** The root group has no name of its own. */
const groupText = (group: string): string => (group === '.' ? '/' : group);
const knobText = (knob: string, device?: string): string =>
  device === undefined ? knob : `${knob} ${device}`;

function ioPart({ io }: PartitionsRoom): Answer<'partitions.show'>['io'] {
  const { weights, cost } = io.settings;
  return {
    weights,
    cost,
    set: io.shares().map(({ wish, state, detail }) => ({
      group: groupText(wish.group),
      knob: knobText(wish.knob, wish.device),
      value: wish.value,
      state,
      ...(detail === undefined ? {} : { detail }),
    })),
    disks: io.sharing().map(({ name, by, scheduler }) => ({ name, by, scheduler })),
  };
}

/** What keeps the weights of the settings from having an effect, each with its fix. */
function ioProblems({
  io,
  places,
  loop,
}: Pick<PartitionsRoom, 'io' | 'places' | 'loop'>): { text: string; fix: string }[] {
  const { weights, cost } = io.settings;
  if (weights.user === 0 && weights.system === 0) return [];
  if (places.io === undefined)
    return [
      {
        text: 'weights of disks are set, and no cgroup hierarchy of version 2 has the io controller',
        fix: 'Boot with `systemd.unified_cgroup_hierarchy=1`.',
      },
    ];
  const sharing = io.sharing();
  const queues = (device?: string) => sharing.every((one) => one.device !== device || one.queues);
  const problems = io
    .shares()
    .filter(({ state }) => state === 'refused')
    .map(({ wish, detail = '' }) => ({
      text: `${knobText(wish.knob, wish.device)} is not set: ${detail}`,
      fix:
        wish.knob === 'io.weight'
          ? `Turn the controller on for it: \`echo +io > ${dirname(join(wish.root, wish.group))}/cgroup.subtree_control\`.`
          : queues(wish.device)
            ? 'This kernel has no io.cost for the disk: use the scheduler bfq.'
            : 'The kernel takes it for a disk with several paths, where nothing waits its turn: boot with `nvme_core.multipath=N`, unless it has them.',
    }));
  for (const { name: disk, device } of sharing.filter(({ unbound }) => unbound))
    problems.push({
      text: `io.cost of ${disk} has no goal: io.weight acts there only while the queue of the disk is full`,
      fix: `Say what the disk can do, for example \`echo "${device} ctrl=user rpct=95 rlat=5000 wpct=95 wlat=20000" > ${places.io.root}/io.cost.qos\`. It is kept. partitions.io_cost = "on" writes one where there is none.`,
    });
  const without = sharing.filter(({ by }) => by === 'nothing');
  if (without.length === 0 || (cost && !loop.manages)) return problems;
  const names = without.map(({ name, scheduler }) => `${name} (scheduler ${scheduler})`);
  return [
    ...problems,
    {
      text: `io.weight has no effect on ${names.join(', ')}: nothing gives requests their turn by weights there`,
      fix: cost
        ? 'See why io.cost.qos is not on: `personactl partitions show`.'
        : 'Set partitions.io_cost = "on", or use the scheduler bfq.',
    },
  ];
}

/** What of the shares `doctor` looks at. */
export async function memoryChecks(
  room: Pick<PartitionsRoom, 'places' | 'loop' | 'io' | 'oomdKills'>,
): Promise<Check[]> {
  return [...weightChecks(room), ...(await oomdChecks(room))];
}

/** Limits of ours, and a service that ends who is held back by them. */
async function oomdChecks({
  loop,
  places,
  oomdKills,
}: Pick<PartitionsRoom, 'places' | 'loop' | 'oomdKills'>): Promise<Check[]> {
  const name = 'systemd-oomd';
  if (!loop.manages || !runsHere(places, `${name}.service`)) return [];
  return (await oomdKills()).map((kill) => ({
    name,
    state: 'warning',
    detail: killText(kill),
    fix: `\`systemctl set-property -- ${kill.unit} ${kill.setting}=auto\`, or \`personactl partitions policy --mode observe\`.`,
  }));
}

function weightChecks(room: Pick<PartitionsRoom, 'places' | 'loop' | 'io'>): Check[] {
  const { weights } = room.io.settings;
  const name = 'disk weights';
  if (weights.user === 0 && weights.system === 0)
    return [{ name, state: 'ok', detail: 'none are asked for' }];
  const problems = ioProblems(room);
  if (problems.length > 0)
    return problems.map(({ text, fix }) => ({ name, state: 'warning', detail: text, fix }));
  const detail = `user ${weights.user || 'left alone'}, system ${weights.system || 'left alone'}`;
  return [{ name, state: 'ok', detail }];
}

function showPage(room: PartitionsRoom, kills: readonly OomdKill[]): Answer<'partitions.show'> {
  const { loop, places, leases, recorder } = room;
  const now = loop.last;
  const waited = now && hostWaiting(loop.before, now);
  return {
    ...choiceOf(room),
    policies: policies.map(({ name, summary }) => ({ name, summary })),
    shares: room.shares(),
    seenMs: loop.seenMs,
    totalBytes: now?.totalBytes ?? 0,
    availableBytes: now?.availableBytes ?? 0,
    swapTotalBytes: now?.swapTotalBytes ?? 0,
    swapFreeBytes: now?.swapFreeBytes ?? 0,
    ...(waited === undefined ? {} : { waiting: waited }),
    ...(places.memory && { cgroupVersion: places.memory.version }),
    sides: sides.map((side) => sidePage(room, side)),
    leases: leases.all().map(({ group, knob, device, old, wanted, read, unit }) => ({
      group: groupText(group),
      knob: knobText(knob, device),
      old,
      value: read ?? wanted,
      by: unit === undefined ? 'cgroupfs' : 'systemd',
    })),
    theirs: loop.theirs.map(({ side, knob, value }) => ({ side, knob, value })),
    disks: recorder.disks?.disks ?? [],
    ...(places.io && { io: ioPart(room) }),
    remarks: remarksOf(room, kills),
  };
}

/** Goals are whole bytes on the wire. */
function decisionPage({ goals, ...rest }: Decision): DecisionPage {
  const whole = ({ lowBytes, highBytes }: Decision['goals']['user']) => ({
    lowBytes: Math.round(lowBytes),
    ...(highBytes === undefined ? {} : { highBytes: Math.round(highBytes) }),
  });
  return { ...rest, goals: { user: whole(goals.user), system: whole(goals.system) } };
}

/** The methods of shares, of memory and of space. */
export function partitionMethods(room: PartitionsRoom, governor: Governor): PartitionMethods {
  return {
    async 'partitions.show'() {
      const [kills] = await Promise.all([room.oomdKills(), room.loop.lookAgain(freshMs)]);
      const space = governor.show();
      return { ...showPage(room, kills), ...(space && { space }) };
    },
    'partitions.explain': () => {
      const { decision, moves } = room.loop;
      const space = governor.explain();
      return {
        ...(decision && { last: decisionPage(decision) }),
        moves: moves.map(decisionPage),
        ...(space && { space }),
      };
    },
    async 'partitions.history'({ step = '10s' }) {
      const stepMs = steps[step];
      const rows = await room.history(stepMs);
      return {
        stepMs,
        rows: rows.map(({ atMs, means: { disks, ...means } }) => ({
          atMs,
          ...means,
          ...(disks && { disks: Object.entries(disks).map(([name, one]) => ({ name, ...one })) }),
        })),
      };
    },
    'partitions.set': async (wanted) => ({ shares: await room.setShares(wanted) }),
    async 'partitions.policy'(wanted) {
      const returned = await room.choose(wanted);
      return {
        ...choiceOf(room),
        returned: returned.map(({ lease, state }) => ({
          group: groupText(lease.group),
          knob: knobText(lease.knob, lease.device),
          state,
        })),
      };
    },
  };
}

/** Memory on the status page; nothing before the first look. */
export function memoryPart(room: PartitionsRoom): MemoryPage | undefined {
  const { last, before } = room.loop;
  if (last === undefined) return undefined;
  const { user, system } = last.sides;
  const waited = hostWaiting(before, last);
  const { stepMs, used } = room.recorder.recentUse();
  return {
    ...choiceOf(room),
    recent: { stepMs, used: used.map((part) => part ?? null) },
    totalBytes: last.totalBytes,
    availableBytes: last.availableBytes,
    ...(user && { userBytes: user.currentBytes }),
    ...(system && { systemBytes: system.currentBytes }),
    ...(waited === undefined ? {} : { waiting: waited }),
  };
}
