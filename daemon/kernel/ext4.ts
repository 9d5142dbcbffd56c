import { closeSync, fsyncSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { runProgram } from './exec.ts';
import type { Fd } from './fd.ts';
import { createMount, MOUNT_ATTR } from './fs-context.ts';
import { findLoop, keepBlocks } from './loop-find.ts';
import { attachLoop, type Loop, openDevice } from './loops.ts';
import { findProgram } from './probe-host.ts';

// struct ext4_super_block of fs/ext4/ext4.h.
const SUPER = 1024;
const SUPER_SIZE = 1024;
const BLOCKS_LOW = 0x4;
const BLOCK_SIZE = 0x18;
const MAGIC_AT = 0x38;
const MAGIC = 0xef53;
const UUID = 0x68;
const LABEL = 0x78;
const LABEL_SIZE = 16;
const BLOCKS_HIGH = 0x150;

/** Writing the tables of 16 GiB takes a second on a slow disk; of 1 TiB, a minute. */
const MAKE_MS = 300_000;
const GROW_MS = 300_000;

/** What an ext4 image says of itself. */
export interface Ext4Identity {
  uuid: string;
  label: string;
  bytes: number;
}

/** Reads what the superblock in the first 2048 bytes of an image says; undefined when there is none. */
export function ext4Identity(head: Buffer): Ext4Identity | undefined {
  if (head.length < SUPER + SUPER_SIZE) return undefined;
  const block = head.subarray(SUPER);
  if (block.readUInt16LE(MAGIC_AT) !== MAGIC) return undefined;
  const hex = block.toString('hex', UUID, UUID + 16);
  const blocks = block.readUInt32LE(BLOCKS_LOW) + block.readUInt32LE(BLOCKS_HIGH) * 2 ** 32;
  return {
    uuid: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    label: block.toString('latin1', LABEL, LABEL + LABEL_SIZE).replace(/\0.*$/, ''),
    bytes: blocks * 1024 * 2 ** block.readUInt32LE(BLOCK_SIZE),
  };
}

/** The same of a file; undefined when it holds no ext4 file system. */
export function readExt4(path: string): Ext4Identity | undefined {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(SUPER + SUPER_SIZE);
    return readSync(file, head, 0, head.length, 0) < head.length ? undefined : ext4Identity(head);
  } finally {
    closeSync(file);
  }
}

/**
 * Writes whose it is into an empty device, in the words of a superblock, until a file system with the same words takes its place: from here on
 * it is found again, whatever happens.
 */
export function markExt4(path: string, uuid: string, label: string): void {
  const head = Buffer.alloc(SUPER + SUPER_SIZE);
  head.writeUInt16LE(MAGIC, SUPER + MAGIC_AT);
  head.write(uuid.replaceAll('-', ''), SUPER + UUID, 'hex');
  head.write(label, SUPER + LABEL, LABEL_SIZE, 'latin1');
  const device = openSync(path, 'r+');
  try {
    writeSync(device, head, 0, head.length, 0);
    fsyncSync(device);
  } finally {
    closeSync(device);
  }
}

/** The path of mkfs.ext4, or undefined where it is not installed. */
export function ext4Maker(): string | undefined {
  return findProgram('mkfs.ext4');
}

/** How the tables of a new file system are cut; absent: as for a tree of small files. */
export interface Ext4Shape {
  /** One inode for so many bytes. */
  bytesPerInode?: number;
  /** 0: no journal, for what nobody wants back after a crash. */
  journalBytes?: number;
  /** Beyond those the machine's own mkfs gives. */
  features?: readonly string[];
}

function journalOf(bytes: number | undefined): string[] {
  return bytes === undefined || bytes === 0 ? [] : ['-J', `size=${bytes / 2 ** 20}`];
}

/** One list: of several options the last would stand. */
function featuresOf({ journalBytes, features = [] }: Ext4Shape): string[] {
  const all = journalBytes === 0 ? ['^has_journal', ...features] : features;
  return all.length === 0 ? [] : ['-O', all.join(',')];
}

/**
 * Makes an ext4 file system in the file, which must be ours alone: nothing kept for root, nothing left to be written later, and no block
 * given back. All the same some mkfs punch holes: allocate the file again afterwards. Throws ProgramFailed.
 */
export async function makeExt4(
  maker: string,
  path: string,
  uuid: string,
  label: string,
  how: Ext4Shape = {},
) {
  const options = 'nodiscard,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0';
  const inodes = ['-i', String(how.bytesPerInode ?? 16384), '-I', '256'];
  const more = [...journalOf(how.journalBytes), ...featuresOf(how)];
  const shape = ['-b', '4096', ...inodes, ...more, '-m', '0', '-e', 'remount-ro'];
  const args = ['-q', '-F', ...shape, '-E', options, '-U', uuid, '-L', label, path];
  await runProgram({ file: maker, args, deadlineMs: MAKE_MS });
}

/** How a mounted image is read and written. */
export interface Ext4Options {
  /** Past the page cache of the file system that the image lies on, where that can. */
  directIo?: boolean;
}

/**
 * Mounts the ext4 image, attached nowhere: nosuid, nodev, noatime; its journal is replayed. When the file is mounted already, out of our
 * sight or by an earlier run, the answer is another mount of the same superblock: never two of one file.
 * `kept` says that the kernel will not give blocks of the file back.
 * @param name the last part of the image's path.
 */
export async function mountExt4(
  image: Fd,
  name: string,
  options: Ext4Options = {},
): Promise<{ mount: Fd; kept: boolean }> {
  const loop = (await findLoop(image, name)) ?? (await attached(image, options));
  try {
    const kept = keepBlocks(loop);
    const flags = MOUNT_ATTR.nosuid | MOUNT_ATTR.nodev | MOUNT_ATTR.noatime;
    const wanted = [
      { key: 'source', text: loop.path },
      { key: 'nodiscard' },
      { key: 'noinit_itable' },
      { key: 'errors', text: 'remount-ro' },
    ];
    const mount = await createMount('ext4', wanted, flags);
    return { mount, kept: kept && keepExtents(loop) };
  } finally {
    await loop.device.closeLater(); // the mount keeps the device; without a mount it frees itself
  }
}

/**
 * Mounts the ext4 file system on a device, attached nowhere: nosuid, nodev, noatime. Blocks of deleted files are `given-back` to the device at
 * once, where that frees memory, or `kept`.
 */
export function mountExt4Device(device: string, blocks: 'given-back' | 'kept'): Promise<Fd> {
  const flags = MOUNT_ATTR.nosuid | MOUNT_ATTR.nodev | MOUNT_ATTR.noatime;
  const discard = { key: blocks === 'given-back' ? 'discard' : 'nodiscard' };
  const options = [{ key: 'source', text: device }, discard, { key: 'noinit_itable' }];
  return createMount('ext4', [...options, { key: 'errors', text: 'remount-ro' }], flags);
}

/** Some kernels mount no device that anyone has open for writing, so only a reading descriptor stays. */
async function attached(image: Fd, { directIo = false }: Ext4Options): Promise<Loop> {
  const loop = await attachLoop(image, { writable: true, directIo });
  try {
    return { ...loop, device: openDevice(loop.number, false) };
  } finally {
    await loop.device.closeLater();
  }
}

/** Small unwritten extents are filled by requests for zeros, which a loop device answers by a hole: not so from now on. */
function keepExtents({ number }: Loop): boolean {
  try {
    writeFileSync(`/sys/fs/ext4/loop${number}/extent_max_zeroout_kb`, '0');
    return true;
  } catch {
    return false;
  }
}

/** What `mountExt4` sees to, for a device that is mounted already. False when the kernel may give blocks of the file back. */
export function keepExt4Blocks(loop: Loop): boolean {
  return keepBlocks(loop) && keepExtents(loop);
}

/** True when the mounted file system with this device (`major:minor`) is the one in the image. */
export async function isExt4Of(image: Fd, name: string, device: string): Promise<boolean> {
  const loop = await findLoop(image, name);
  await loop?.device.closeLater();
  return loop !== undefined && device === `7:${loop.number}`;
}

/**
 * Lets the file system use all of its file, which has grown: checked first, as the tool wants it. The file must be attached nowhere.
 * A mounted one would need a capability that containers rarely have. Throws ProgramFailed, or an error when a tool is missing.
 */
export async function growExt4(path: string): Promise<void> {
  const [check, resize] = [findProgram('e2fsck'), findProgram('resize2fs')];
  if (check === undefined || resize === undefined) throw new Error('e2fsprogs is not installed');
  const options = { deadlineMs: GROW_MS, accept: [1] }; // of e2fsck: what was wrong is right again
  await runProgram({ file: check, args: ['-f', '-p', path], ...options });
  await runProgram({ file: resize, args: [path], deadlineMs: GROW_MS });
}
