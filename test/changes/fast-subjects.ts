import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
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

const noteOf = (folder: string, name: string) => join(pathsOf(folder).run, 'fast', name, 'note');

/** Rows, mounts and folders, and what was written: a change that is taken back has lost none of it. */
async function observe({ rooms, engine }: Daemon, folder: string): Promise<Json> {
  const place = `${join(pathsOf(folder).run, 'fast')}/`;
  const { partitions } = await rooms.methods(engine)['fast.list']({}, request);
  return {
    partitions: partitions.map(({ name, on, bytes, state, path }) => {
      const note = noteOf(folder, name);
      const { uid, mode } = statSync(path);
      return {
        ...{ name, on, bytes, state, uid, mode },
        note: existsSync(note) ? readFileSync(note, 'utf8') : null,
      };
    }),
    mounts: readMountinfo()
      .filter(({ at }) => at.startsWith(place))
      .map(({ at, type }) => ({ at: at.slice(place.length), type })),
    devices: devices().length,
    images: readdirSync(join(pathsOf(folder).state, 'fast')).length,
    folders: ['kept', 'other'].filter((name) => existsSync(join(place, name))),
  };
}

function subject(on: Medium, asked: Asked): Subject {
  return silentSubject(
    asked,
    observe,
    {
      async prepare(folder) {
        mkdirSync(folder, { recursive: true });
        const daemon = await startForProof(folder, { speedOf });
        await mustDo(daemon, (methods) =>
          methods['fast.create']({ name: 'kept', bytes: keptBytes, on }, request),
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
  (on: Medium | 'auto'): Asked =>
  (methods) =>
    methods['fast.create']({ name: 'other', bytes: otherBytes, on }, request);
const remove: Asked = (methods) => methods['fast.rm']({ name: 'kept' }, request);

/** A second partition beside one that holds something. */
export const ramCreate = subject('ram', create('ram'));
/** A partition that holds something, given up. */
export const ramRemove = subject('ram', remove);
/** The same on compressed memory. */
export const zramCreate = subject('zram', create('zram'));
export const zramRemove = subject('zram', remove);
/** The same in an image on the disk. */
export const nvmeCreate = subject('nvme', create('nvme'));
export const nvmeRemove = subject('nvme', remove);
/** On what is measured to be best. */
export const autoCreate = subject('ram', create('auto'));
