import { PersonaError } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Rooms } from '../api/rooms.ts';
import type { Check } from '../system/doctor.ts';
import { planCreate, planRemove, planResize } from '../volumes/plans.ts';
import type { VolumesRoom } from '../volumes/room.ts';
import type { VolumeName } from '../volumes/volume.ts';
import type { Governor } from './space.ts';

type VolumeMethods = Pick<Rooms, Extract<keyof Rooms, `volume.${string}`>>;
type VolumePage = Answer<'volume.list'>['volumes'][number];

async function pageOf(room: VolumesRoom, volume: VolumeName): Promise<VolumePage> {
  const [page] = await room.pages(volume);
  if (page === undefined) throw new PersonaError('volume-not-found', { volume });
  return page;
}

/** The methods of volumes. */
export function volumeMethods(
  room: VolumesRoom,
  { governed }: Pick<Governor, 'governed'>,
): VolumeMethods {
  return {
    'volume.create': (params, { caller }) => ({
      plan: planCreate(room, params, caller.uid),
      answer: async () => ({ volume: await pageOf(room, params.name) }),
    }),
    'volume.list': async () => ({ volumes: await room.pages(), governed: governed() }),
    'volume.resize': (params, { caller }) => ({
      plan: planResize(room, params, caller.uid),
      answer: async () => ({ volume: await pageOf(room, params.name) }),
    }),
    'volume.rm': async (params, { caller }) => ({
      plan: await planRemove(room, params, caller.uid),
    }),
  };
}

/** What of volumes wants a person, for the status page. */
export function volumeNotices(room: VolumesRoom): { text: string; command: string }[] {
  return room.notices().map(({ text, command }) => ({ text, command }));
}

/** The same for `personactl doctor`, and a line for each volume with which all is well. */
export async function volumeChecks(room: VolumesRoom): Promise<Check[]> {
  const notices = room.notices();
  const checks: Check[] = notices.map(({ volume, grave, text, command }) => ({
    name: `volume ${volume}`,
    state: grave ? 'failed' : 'warning',
    detail: text,
    fix: command,
  }));
  for (const { name, at } of await room.pages())
    if (!notices.some(({ volume }) => volume === name))
      checks.push({ name: `volume ${name}`, state: 'ok', detail: `${at}, all blocks set aside` });
  return checks;
}
