import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mountErofs } from './erofs.ts';
import { Fd } from './fd.ts';
import { flip, makeAnchor, removeAnchor } from './flip.ts';
import { createUserNamespace } from './idmap.ts';
import { declareInt } from './libc.ts';
import { attach, changeMount, type MountChange, unmount } from './mounts.ts';
import { type Lower, type LowerWay, mountOverlay } from './overlay.ts';
import type { Capability } from './probe.ts';
import { emptyErofs } from './probe-image.ts';
import { trySeal } from './probe-seal.ts';
import { writeXattr } from './xattrs.ts';

/** The results of all mount probes; `works` asks for one by id. */
export interface MountFindings {
  list: Capability[];
  works(id: string): boolean;
}

/** Where an image begins in the probe's container file. */
const OFFSET = 8192;
/** The default range of ids for slots of root; any would do here. */
const PROBE_IDS = { first: 2_130_706_432, count: 65_536 };

/** What says in an upper that a name is gone: a character device 0:0. */
const WHITEOUT = 0o020000;

const mknod = declareInt('mknod', ['text', 'uint', 'u64']);

interface Scratch {
  folder: string;
  run: string;
  open(name: string): Fd;
  upper(name: string): string;
}

type Texts = Pick<Capability, 'usedFor' | 'fix' | 'needed'>;
type Trial = (scratch: Scratch) => Promise<string>;

async function erofs(scratch: Scratch, way: 'file' | 'file-offset' | 'loop'): Promise<Fd> {
  using file = scratch.open(way === 'file-offset' ? 'container' : 'image');
  return await mountErofs({ file, offset: way === 'file-offset' ? OFFSET : 0 }, way);
}

/** Any working erofs mount: file-backed, else by loop. */
async function layer(scratch: Scratch): Promise<Fd> {
  return await erofs(scratch, 'file').catch(() => erofs(scratch, 'loop'));
}

async function overlay(scratch: Scratch, name: string, lower: Lower, way: LowerWay): Promise<Fd> {
  return mountOverlay(
    { lowers: [lower], upper: scratch.upper(name), source: 'persona:probe' },
    way,
  );
}

async function tryOverlay(scratch: Scratch, way: 'fd' | 'path'): Promise<string> {
  using lower = await layer(scratch);
  const tree = await overlay(scratch, `lower-${way}`, { mount: lower }, way);
  await tree.closeLater();
  return '';
}

/** Runs `work` with any layer, attached at a hidden place as every kernel can join it. */
async function staged<T>(
  scratch: Scratch,
  change: MountChange,
  work: (lower: Lower) => Promise<T>,
): Promise<T> {
  const place = mkdtempSync(`${scratch.folder}/stage-`);
  using mount = await layer(scratch);
  changeMount(mount, change);
  attach(mount, place);
  try {
    changeMount(place, { propagation: 'private' });
    return await work({ mount, attachedAt: place });
  } finally {
    await unmount(place, { detach: true });
  }
}

async function tryUpper(scratch: Scratch): Promise<string> {
  await staged(scratch, {}, async (lower) => {
    const tree = await overlay(scratch, 'upper', lower, 'staging');
    writeFileSync(`${tree.path}/file`, 'x');
    await tree.closeLater();
  });
  // Where these two fail the kernel still makes the tree, and the first removal in it fails.
  const made = `${scratch.upper('upper')}/fs/file`;
  writeXattr(made, 'trusted.overlay.opaque', 'y');
  mknod(`${made}.whiteout`, WHITEOUT, 0);
  return '';
}

async function tryBeneath(scratch: Scratch): Promise<string> {
  const anchor = mkdtempSync(`${scratch.run}/probe-`);
  try {
    makeAnchor(anchor);
    for (let round = 0; round < 2; round += 1) {
      using tree = await layer(scratch);
      const flipped = await flip(anchor, tree, 'beneath');
      await flipped.settled;
      await flipped.old?.closeLater();
    }
    return '';
  } finally {
    await unmount(`${anchor}/root`, { detach: true }).catch(() => undefined);
    await removeAnchor(anchor);
    rmSync(anchor, { recursive: true });
  }
}

async function tryIdmap(scratch: Scratch): Promise<string> {
  using namespace = await createUserNamespace(PROBE_IDS);
  chownSync(`${scratch.upper('idmap')}/fs`, PROBE_IDS.first, PROBE_IDS.first);
  return await staged(scratch, { idmap: namespace }, async (lower) => {
    const tree = await overlay(scratch, 'idmap', lower, 'staging');
    writeFileSync(`${tree.path}/file`, 'x');
    const { uid } = statSync(`${tree.path}/.`);
    await tree.closeLater();
    if (uid !== PROBE_IDS.first) throw new Error(`the root folder belongs to ${uid}`);
    return '';
  });
}

const closing = async (mount: Promise<Fd>): Promise<string> => {
  await (await mount).closeLater();
  return '';
};

const TRIALS: [id: string, texts: Texts, trial: Trial][] = [
  [
    'erofs-file',
    {
      usedFor: 'mounting images without a loop device',
      fix: 'Without it images are mounted through loop devices, which is slower under load. Linux 6.12 or newer has it; the state folder must not lie on overlayfs.',
      needed: false,
    },
    (scratch) => closing(erofs(scratch, 'file')),
  ],
  [
    'erofs-offset',
    {
      usedFor: 'mounting the image inside an .osp file where it lies',
      fix: 'Without it such images are mounted through a loop device with an offset. Linux 6.17 or newer has it.',
      needed: false,
    },
    (scratch) => closing(erofs(scratch, 'file-offset')),
  ],
  [
    'loop',
    {
      usedFor: 'mounting images where the kernel cannot read the file itself',
      fix: 'Load it: `modprobe loop`. In a container, give it /dev/loop-control and the loop devices. Linux 5.8 or newer is needed.',
      needed: false,
    },
    (scratch) => closing(erofs(scratch, 'loop')),
  ],
  [
    'lowerdir-fd',
    {
      usedFor: 'joining layers that are attached nowhere, by descriptor',
      fix: 'Without it layers are named by /proc/self/fd, or attached at hidden places first. Linux 6.13 or newer has it.',
      needed: false,
    },
    (scratch) => tryOverlay(scratch, 'fd'),
  ],
  [
    'lowerdir-path',
    {
      usedFor: 'joining layers that are attached nowhere, by path',
      fix: 'Without it layers are attached at hidden places first. Linux 6.12 or newer may have it.',
      needed: false,
    },
    (scratch) => tryOverlay(scratch, 'path'),
  ],
  [
    'uppers',
    {
      usedFor: 'keeping what programs in a slot write',
      fix: 'Put the state folder on ext4, xfs or btrfs: overlayfs, NFS and FAT cannot hold a writable layer. A loop volume of our own is made meanwhile; it needs `apt install e2fsprogs` and a working loop device.',
      needed: true,
    },
    tryUpper,
  ],
  [
    'mount-beneath',
    {
      usedFor: 'replacing a tree with no moment in which the path is empty',
      fix: 'Without it the path of a slot is a symbolic link that is replaced by rename. Linux 6.5 or newer has it.',
      needed: false,
    },
    tryBeneath,
  ],
  [
    'fs-verity',
    {
      usedFor: 'sealing images: the kernel checks each block that is read of them',
      fix: 'Without it a changed image is found by reading it again. Put the state folder on ext4 with `tune2fs -O verity DEVICE`, or on btrfs or f2fs, under a kernel built with it.',
      needed: false,
    },
    ({ folder }) => trySeal(folder),
  ],
  [
    'idmapped-layers',
    {
      usedFor: 'slots of root: its programs are root inside and nobody outside',
      fix: 'Without it programs cannot be started as root in a slot. Linux 6.6 or newer, user namespaces switched on, and a state folder on ext4, xfs or btrfs are needed.',
      needed: false,
    },
    tryIdmap,
  ],
];

/** Tries each mount facility in scratch folders below `state` and `uppers` (and an anchor below `run`); leaves nothing behind. */
export async function probeMounts(
  state: string,
  run: string,
  uppers: string,
): Promise<MountFindings> {
  const folder = mkdtempSync(`${state}/probe-`);
  const upperFolder = mkdtempSync(`${uppers}/.probe-`);
  const image = emptyErofs();
  writeFileSync(`${folder}/image`, image);
  writeFileSync(`${folder}/container`, Buffer.concat([Buffer.alloc(OFFSET), image]));
  const scratch: Scratch = {
    folder,
    run,
    open: (name) => new Fd(openSync(`${folder}/${name}`, 'r'), `probe ${name}`),
    upper: (name) => {
      for (const part of ['fs', 'work'])
        mkdirSync(`${upperFolder}/${name}/${part}`, { recursive: true });
      return `${upperFolder}/${name}`;
    },
  };
  const list: Capability[] = [];
  try {
    for (const [id, texts, trial] of TRIALS) {
      const [works, detail] = await trial(scratch).then(
        (said) => [true, said] as const,
        (error: unknown) =>
          [false, error instanceof Error ? error.message : String(error)] as const,
      );
      list.push({ id, works, detail, ...texts });
    }
  } finally {
    for (const one of [folder, upperFolder]) rmSync(one, { recursive: true, force: true });
  }
  return { list, works: (id) => list.some((one) => one.id === id && one.works) };
}
