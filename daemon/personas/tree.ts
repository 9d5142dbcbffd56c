import { PersonaError } from '../../ipc/errors.ts';
import { bootId } from '../kernel/clock.ts';
import { failedWith, KernelError } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { shownTree } from '../kernel/flip.ts';
import { cloneTree } from '../kernel/mounts.ts';
import { LOWERS_LIMIT, type Lower, mountOverlay, upperInUse } from '../kernel/overlay.ts';
import { mountFlags, statMount } from '../kernel/stat-mount.ts';
import { chainOf } from './flatten.ts';
import { activatableOf, continues } from './generation.ts';
import type { Layer } from './layer.ts';
import type { TreePlan } from './next-trees.ts';
import { stackDigest } from './slot-book.ts';
import { anchorOf, type SlotRoom, shiftOf, sourceOf } from './slot-room.ts';
import type { RootShape, Slot, Upper } from './slot-rows.ts';
import { ownXattrs } from './uppers.ts';

/** A slot's tree, made and checked, attached nowhere. */
export interface Tree {
  mount: Fd;
  upper: Upper;
  /** The superblock of an earlier generation, still alive: writers in it go on. */
  again: boolean;
  /** It shows what an earlier generation had written. */
  resumed: boolean;
}

/** How long a superblock may take to end that was let go already. */
const END_MS = 5_000;

/** The tree of `layers` on a new upper, over the sealed uppers `below` (top first): one joined ahead, or made now. */
export async function newTree(
  room: SlotRoom,
  slot: Slot,
  layers: Layer[],
  below: string[],
): Promise<Tree> {
  const ready = await room.next.take(slot.name, { layers, below });
  return ready ?? (await makeTree(room, slot, { layers, below }));
}

/** Makes the tree of a plan on a new upper. */
export async function makeTree(
  room: SlotRoom,
  slot: Slot,
  { layers, below }: TreePlan,
): Promise<Tree> {
  if (layers.length + below.length > LOWERS_LIMIT) {
    throw new PersonaError('limit-exceeded', {
      what: `the number of earlier states below this persona (${below.length})`,
      limit: LOWERS_LIMIT - layers.length,
    });
  }
  const id = await room.uppers.take(slot.name);
  const upper: Upper = {
    id,
    slot: slot.name,
    stack: stackDigest(layers),
    below,
    state: 'active',
    boot: bootId(),
    createdMs: room.now(),
    root: { mode: 0o755, uid: 0, gid: 0 },
  };
  try {
    const mount = await mountTree(room, slot, layers, upper, { shape: true });
    return { mount, upper, again: false, resumed: below.length > 0 };
  } catch (error) {
    await room.uppers.remove(slot.name, id);
    throw error;
  }
}

/** Mounts `layers` with an upper of this slot. The caller made sure that the upper is in no superblock. */
export async function mountTree(
  room: SlotRoom,
  slot: Slot,
  layers: Layer[],
  upper: Upper,
  options: { shape: boolean },
): Promise<Fd> {
  const shift = await shiftOf(room, slot);
  const sealed = upper.below.map((id) => room.uppers.lower(slot.name, id));
  try {
    const lowers: Lower[] = [...sealed];
    for (const layer of layers) lowers.push(await room.layers.lower(layer, shift));
    if (options.shape) {
      const top = lowers[0]!.mount;
      upper.root = rootShape(top);
      room.uppers.shape(slot.name, upper.id, upper.root, statMount(top).mtimeNs);
    }
    const mount = await mountOverlay(
      {
        lowers,
        upper: room.uppers.path(slot.name, upper.id),
        volatile: slot.ephemeral,
        source: sourceOf(slot.name, upper.id),
      },
      room.ways.lowers,
    );
    return await checkedTree(mount, lowers);
  } catch (error) {
    throw error instanceof KernelError
      ? new PersonaError(
          'kernel-refused',
          { call: error.syscall, reason: error.message },
          { cause: error },
        )
      : error;
  } finally {
    for (const { mount } of sealed) mount.close();
  }
}

/** As the layers show it: with shifted ids the upper's own files have the ids from outside, since an upper cannot be shifted. */
function rootShape(mount: Fd): RootShape {
  const { mode, uid, gid } = statMount(mount);
  const xattrs = ownXattrs(`${mount.path}/.`);
  return { mode: mode & 0o7777, uid, gid, ...(xattrs.length === 0 ? {} : { xattrs }) };
}

/** The checks every tree passes before it is committed to; a tree that fails is closed. */
async function checkedTree(mount: Fd, lowers: Lower[]): Promise<Fd> {
  try {
    const flags = mountFlags(mount);
    if (!flags.nosuid || !flags.nodev) failed('nosuid and nodev', 'the kernel dropped a flag');
    // The kernel goes on read-only when it cannot use the work folder.
    if (flags.readOnly) failed('writable', 'the kernel made the tree read-only');
    if (!statMount(mount).isMountRoot) failed('root of the tree', 'it is not the root of a mount');
    checkContent(mount, lowers);
    return mount;
  } catch (error) {
    await mount.closeLater();
    throw error;
  }
}

/** Looks a name up through every layer: listing the joined root folder would cost as much as joining it. */
function checkContent(mount: Fd, lowers: Lower[]): void {
  const names = lowers.flatMap(({ sample }) => sample ?? []);
  if (names.length === 0) failed('content', 'the tree is empty');
  for (const name of names.slice(-2)) {
    try {
      statMount(`${mount.path}/${name}`);
    } catch (error) {
      // A layer above may have removed it; the kernel then still answered.
      if (!failedWith(error, 'ENOENT')) throw error;
    }
  }
}

function failed(check: string, reason: string): never {
  throw new PersonaError('check-failed', { check, reason });
}

/**
 * The tree that goes on from `upper`: its own superblock while that is alive, else a new upper on top of it.
 * Throws slot-busy when someone invisible keeps the old superblock: there is never a second one on an upper.
 */
export async function treeAfter(
  room: SlotRoom,
  slot: Slot,
  layers: Layer[],
  upper: Upper,
): Promise<Tree> {
  const again = shownOf(room, slot, upper) ?? room.keeper.take(upper.id);
  if (again !== undefined) return { mount: again, upper, again: true, resumed: true };
  if (upper.state === 'draining' || upper.state === 'active') await untilSealed(room, slot, upper);
  const below = chainOf(room.book, room.book.upper(upper.id));
  const tree = await newTree(room, slot, layers, below);
  return { ...tree, resumed: true };
}

/** What a slot will most likely be asked for next: what was active before, on its last state. */
export function likelyNext(room: SlotRoom, name: string): TreePlan | undefined {
  const slot = room.book.find(name);
  const current = slot === undefined ? undefined : room.book.current(slot);
  if (slot === undefined || current === undefined) return undefined;
  const shown = stackDigest(current.layers);
  const goal = room.book
    .generations(name)
    .findLast(({ state, layers }) => state === 'good' && stackDigest(layers) !== shown);
  if (goal === undefined) return undefined;
  const { layers } = goal;
  const target = { what: activatableOf(goal), reason: 'swap' as const };
  const from = continues(room.book, slot, target, stackDigest(layers));
  if (from === undefined) return { layers, below: [] };
  const upper = room.book.upper(from.upper);
  // Until it has ended, its own superblock is what is shown again.
  if (upper.state === 'active' || upper.state === 'draining') return undefined;
  return { layers, below: chainOf(room.book, upper) };
}

/** Ends a tree that was made and never recorded, with its upper. */
export async function discardTree(room: SlotRoom, { mount, upper }: Tree): Promise<void> {
  await mount.closeLater();
  await room.uppers.remove(upper.slot, upper.id);
}

/** A copy of what the slot shows, when that is the superblock of this upper. */
function shownOf(room: SlotRoom, slot: Slot, upper: Upper): Fd | undefined {
  if (room.book.current(slot)?.upper !== upper.id) return undefined;
  const shown = shownTree(anchorOf(room, slot.name));
  return shown === undefined ? undefined : cloneTree(shown.at, { recursive: true });
}

async function untilSealed(room: SlotRoom, slot: Slot, upper: Upper): Promise<void> {
  const path = room.uppers.path(slot.name, upper.id);
  if (!room.keeper.has(upper.id)) room.keeper.await(upper);
  if (await room.keeper.ended(upper.id, END_MS)) return;
  if (!(await upperInUse(path, room.state))) {
    if (['sealed', 'gone'].includes(room.book.upper(upper.id).state)) return;
    // Without it the slot would come back without what was last written in it.
    failed('earlier state', 'it has ended and cannot be written down: see the log of the daemon');
  }
  const inside = room.keeper.of(slot.name).find((one) => one.upper.id === upper.id)?.inside ?? [];
  const who = inside.map(({ pid }) => `pid ${pid}`).join(', ');
  throw new PersonaError('slot-busy', {
    slot: slot.name,
    who: who === '' ? 'a program that cannot be seen still holds the earlier state' : who,
  });
}
