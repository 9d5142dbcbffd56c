import { join } from 'node:path';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';

const MiB = 1024 ** 2;

/** The volumes that a machine may have. */
export const volumeNames = ['user', 'system'] as const;
export type VolumeName = (typeof volumeNames)[number];

/** What is fixed when a volume is made. How large it is now is told by the volume itself, by its ballast. */
export interface Volume {
  name: VolumeName;
  /** Of its file system: another image in its place is not taken for it. */
  uuid: string;
  /** Length of its image: it can grow up to this. */
  limitBytes: number;
  createdMs: number;
}

/** Below this a volume is mostly its own tables. */
export const volumeBytesMin = 64 * MiB;
/** How much larger than at first a volume may become: the tables are made for the limit, one part in 128 of it. */
export const limitPerByteMax = 16;
/** The limit of who names none. */
export const limitPerByte = 4;
/** What ext4 of 4096 bytes a block can hold. */
export const volumeBytesMax = 16 * 1024 ** 4;

/** Sizes are whole MiB, so that each end is the end of a block everywhere. */
export function wholeMiB(bytes: number): number {
  return Math.ceil(bytes / MiB) * MiB;
}

/** The journal of a volume of this size. */
export function journalBytesOf(bytes: number): number {
  return Math.min(128 * MiB, Math.max(8 * MiB, wholeMiB(bytes / 64)));
}

/** Free bytes that stay inside when a volume gives space back: programs go on writing meanwhile. */
export function keptFree(bytes: number): number {
  return Math.max(MiB, Math.ceil(bytes / 20));
}

/** How a volume comes to have more than its limit, in words: its file system is never made larger (README). */
export function wayPastLimit(name: VolumeName): string {
  return (
    `a larger one is made anew: move its slots out (\`personactl slot move SLOT --to state\`), ` +
    `\`personactl volume rm ${name}\`, \`personactl volume create ${name} --size SIZE --limit SIZE\``
  );
}

/** With less than this free a volume is about to be full. */
export function fullBelow(bytes: number): number {
  return Math.ceil(bytes / 10);
}

/** With this much free it is not any more. Between the two it stays what it was, or each file would be told of. */
export function roomyFrom(bytes: number): number {
  return Math.ceil((bytes * 3) / 20);
}

/** Where a volume lies, and where it is seen. */
export interface VolumePlaces {
  image: string;
  /** What the image is called in lists of loop devices. */
  imageName: string;
  /** What stands there after a crash is half made and nobody's. */
  making: string;
  makingName: string;
  record: string;
  /** All of the file system, for root alone. */
  whole: string;
  /** What it holds for others, in it and as it is seen. */
  data: string;
  at: string;
  /** Folders of slots in it, beside what others see. */
  slots: string;
  /** Images of fast partitions in it. */
  fast: string;
  ballast: string;
}

/** The places of the volume of this name. */
export function placesOf({ state, run }: Pick<Paths, 'state' | 'run'>, name: string): VolumePlaces {
  const imageName = `${name}.ext4`;
  const image = join(state, statePlaces.volumes, imageName);
  const whole = join(run, runPlaces.wholeVolumes, name);
  return {
    image,
    imageName,
    making: `${image}.new`,
    makingName: `${imageName}.new`,
    record: join(state, statePlaces.volumes, `${name}.json`),
    whole,
    data: join(whole, 'data'),
    at: join(run, runPlaces.volumes, name),
    slots: join(whole, 'slots'),
    fast: join(whole, 'fast'),
    ballast: join(whole, 'ballast'),
  };
}

/** The name that the file system of a volume bears. */
export const labelOf = (name: VolumeName): string => `persona-${name}`;
