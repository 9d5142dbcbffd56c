import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Request } from '../../daemon/api/rooms.ts';
import type { Json } from '../../daemon/changes/task.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import { readMountinfo } from '../../daemon/kernel/mountinfo.ts';
import { allZram, removeZram, type Zram } from '../../daemon/kernel/zram.ts';
import type { Daemon } from '../../daemon/wiring.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Asked, mustDo, rootRequest } from '../support/silent-daemon.ts';
import type { Subject } from './machine.ts';
import { silentSubject, startForProof } from './silent-subjects.ts';

// The changes of fast partitions, on the real daemon: real mounts, real rows, without sockets.

/** A user who is not root, asking through the socket of everybody. */
const request: Request = {
  ...rootRequest,
  caller: { pid: process.pid, uid: 31_001, gid: 31_001, groups: [], socket: 'user' },
  level: 'any',
};

type Medium = 'ram' | 'zram' | 'nvme';
/** What a partition lies on: a medium, or its image in a volume. */
type Ground = { on: Medium; volume?: 'user' };
const inVolume: Ground = { on: 'nvme', volume: 'user' };
const volumeBytes = 64 * 2 ** 20;
/** The volume of a proof holds two of them. */
const inVolumeBytes = 16 * 2 ** 20;

/** Sizes that nobody else's devices have: a device that is left behind is known by its size. Children have the same. */
const own = Number(process.env.PERSONAD_PROOF_PAGES ?? process.pid % 4096);
process.env.PERSONAD_PROOF_PAGES = String(own);
const keptBytes = 16 * 2 ** 20 + 4096 * own;
const otherBytes = 32 * 2 ** 20 + 4096 * own;

/** Zram devices of the sizes above. */
const devices = (): Zram[] =>
  allZram().filter(({ number }) => {
    const bytes = Number(readFileSync(`/sys/block/zram${number}/disksize`, 'ascii'));
    return [keptBytes, otherBytes].includes(bytes);
  });

/** What a killed daemon and its kernel still hold. */
async function endFast(folder: string): Promise<void> {
  await unmountBelow(folder);
  for (const device of devices()) await removeZram(device);
}

/** The disk is slow, everything else is fast: what is measured depends on the minute. */
const speedOf = async (folder: string) => {
  const ms = folder.startsWith('/proc/') ? 0.1 : 1;
  return { syncMs: ms, readMs: ms };
};

const list = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);

const noteOf = (folder: string, name: string) => join(pathsOf(folder).run, 'fast', name, 'note');

/** Rows, mounts and folders, and what was written: a change that is taken back has lost none of it. */
async function observe({ rooms, engine }: Daemon, folder: string): Promise<Json> {
  const place = `${join(pathsOf(folder).run, 'fast')}/`;
  const { partitions } = await rooms.methods(engine)['fast.list']({}, request);
  const { volumes } = await rooms.methods(engine)['volume.list']({}, rootRequest);
  return {
    partitions: partitions.map(({ name, on, volume, bytes, state, path }) => {
      const note = noteOf(folder, name);
      const { uid, mode } = statSync(path);
      const { blocks, bsize } = statfsSync(path);
      return {
        ...{ name, on, volume: volume ?? null, bytes, state, uid, mode, room: blocks * bsize },
        note: existsSync(note) ? readFileSync(note, 'utf8') : null,
      };
    }),
    mounts: readMountinfo()
      .filter(({ at }) => at.startsWith(place))
      .map(({ at, type }) => ({ at: at.slice(place.length), type })),
    devices: devices().length,
    images: readdirSync(join(pathsOf(folder).state, 'fast')).length,
    volumes: volumes.map(({ name, state, space }) => ({
      ...{ name, state, free: space?.freeBytes ?? null, missing: space?.missingBytes ?? null },
      images: list(join(pathsOf(folder).run, 'volumes/.whole', name, 'fast')).length,
    })),
    folders: ['kept', 'other'].filter((name) => existsSync(join(place, name))),
  };
}

function subject(ground: Ground, asked: Asked): Subject {
  return silentSubject(
    asked,
    observe,
    {
      async prepare(folder) {
        mkdirSync(folder, { recursive: true });
        const daemon = await startForProof(folder, { speedOf });
        const { volume } = ground;
        if (volume !== undefined)
          await mustDo(daemon, (methods) =>
            methods['volume.create']({ name: volume, bytes: volumeBytes }, rootRequest),
          );
        await mustDo(daemon, (methods) =>
          methods['fast.create'](
            { name: 'kept', bytes: volume === undefined ? keptBytes : inVolumeBytes, ...ground },
            request,
          ),
        );
        writeFileSync(noteOf(folder, 'kept'), 'written before');
        await daemon.stop();
      },
      cleanUp: endFast,
    },
    { speedOf },
  );
}

const create =
  (ground: Ground | { on: 'auto' }, bytes = otherBytes): Asked =>
  (methods) =>
    methods['fast.create']({ name: 'other', bytes, ...ground }, request);
const remove: Asked = (methods) => methods['fast.rm']({ name: 'kept' }, request);
const resize =
  (bytes: number): Asked =>
  (methods) =>
    methods['fast.resize']({ name: 'kept', bytes }, request);

/** A second partition beside one that holds something. */
export const ramCreate = subject({ on: 'ram' }, create({ on: 'ram' }));
/** A partition that holds something, given up. */
export const ramRemove = subject({ on: 'ram' }, remove);
/** It gets another size, and keeps what it holds. */
export const ramGrow = subject({ on: 'ram' }, resize(otherBytes));
export const ramShrink = subject({ on: 'ram' }, resize(2 ** 20));
/** The same on compressed memory. */
export const zramCreate = subject({ on: 'zram' }, create({ on: 'zram' }));
export const zramRemove = subject({ on: 'zram' }, remove);
/** The same in an image on the disk. */
export const nvmeCreate = subject({ on: 'nvme' }, create({ on: 'nvme' }));
export const nvmeRemove = subject({ on: 'nvme' }, remove);
/** The same in a volume. */
export const volumeNvmeCreate = subject(inVolume, create(inVolume, inVolumeBytes));
export const volumeNvmeRemove = subject(inVolume, remove);
/** On what is measured to be best. */
export const autoCreate = subject({ on: 'ram' }, create({ on: 'auto' }));
