import { removeFile } from '../kernel/files.ts';
import { readRecord, writeRecord } from '../kernel/records.ts';
import type { Volume, VolumeName, VolumePlaces } from './volume.ts';

const KIND = 'volume';

/** What was fixed when the volume was made; undefined when there is none of this name. */
export async function readVolume(
  name: VolumeName,
  { record }: VolumePlaces,
): Promise<Volume | undefined> {
  const body = await readRecord(record, KIND);
  if (body === undefined) return undefined;
  const { uuid, limitBytes, createdMs } = body;
  return {
    name,
    uuid: String(uuid),
    limitBytes: Number(limitBytes),
    createdMs: Number(createdMs),
  };
}

/** Writes it down beside the image: a volume is found again without the database, which a restore may replace. */
export async function writeVolume(volume: Volume, { record }: VolumePlaces): Promise<void> {
  const { uuid, limitBytes, createdMs } = volume;
  await writeRecord(record, KIND, { uuid, limitBytes, createdMs });
}

/** Forgets it. */
export async function dropVolume({ record }: VolumePlaces): Promise<void> {
  await removeFile(record);
}
