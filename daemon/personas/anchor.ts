import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import { clearTree, makeAnchor, removeAnchor } from '../kernel/flip.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { anchorOf, type SlotRoom } from './slot-room.ts';
import type { Slot } from './slot-rows.ts';

/** Everybody may pass through the folder of anchors, nobody may list it. */
const ANCHORS_MODE = 0o711;
/** A slot's folder belongs to root; its owner's group may look. */
const ANCHOR_MODE = 0o750;

/** Makes the slot's anchor: a shared mount of its own, open to the slot's owner. Safe to repeat. */
export function openAnchor(room: SlotRoom, slot: Slot): void {
  mkdirSync(room.anchors, { recursive: true });
  chmodSync(room.anchors, ANCHORS_MODE);
  const anchor = anchorOf(room, slot.name);
  mkdirSync(anchor, { recursive: true });
  // Root inside a slot of root is the first id of its range outside, and has to reach its own tree.
  chownSync(anchor, 0, slot.ids?.first ?? slot.gid);
  chmodSync(anchor, ANCHOR_MODE);
  makeAnchor(anchor);
}

/** Takes the anchor away with what it shows. Safe to repeat. */
export async function closeAnchor(room: SlotRoom, slot: string): Promise<void> {
  const anchor = anchorOf(room, slot);
  try {
    await (await clearTree(anchor))?.closeLater();
    await removeAnchor(anchor);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
  await removeTree(anchor); // stops at anything that is still mounted
}
