import { resolve } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { openFile } from '../kernel/openat.ts';
import { measureVerity } from '../kernel/verity.ts';
import { baseFacts, baseLayer } from './base-facts.ts';
import { type FileWitness, sameFile, witnessOf } from './file-witness.ts';
import type { Layer } from './layer.ts';
import type { PersonaLayer } from './persona.ts';
import type { Activatable, PersonaSource } from './persona-source.ts';
import type { PersonasRoom } from './room.ts';
import { checkTrust } from './trust.ts';
import { rangeDigest } from './verified-range.ts';

/**
 * What slots ask when they activate a persona. Signature and revocation are judged anew each time. A file is opened
 * once and mounted by that descriptor; its bytes were hashed when it was imported. A sealed file is told by what the kernel
 * measures of it; another one is hashed again when it is not the one that was seen before, or has lost its seal.
 */
export function personaSource(room: PersonasRoom): PersonaSource {
  const seen = new Map<string, FileWitness>();
  return {
    async persona(reference): Promise<Activatable> {
      const persona = room.book.persona(reference);
      checkTrust(room.book, persona);
      const { name, digest, base, environment } = persona;
      const layers = persona.layers.map(layerOf);
      refuseDamaged(room, layers);
      return { persona: { name, digest }, base, layers, environment };
    },
    async base(digest): Promise<Activatable> {
      const base = await baseFacts(room.store, digest);
      const layers = [layerOf(baseLayer(base))];
      refuseDamaged(room, layers);
      return { base: { digest, name: base.name }, layers };
    },
    open: (layer) => openVerified(room, seen, layer),
  };
}

function layerOf({ kind, digest, file, offset, bytes }: PersonaLayer): Layer {
  return { kind, digest, file, offset, size: bytes };
}

async function openVerified(
  room: PersonasRoom,
  seen: Map<string, FileWitness>,
  layer: Layer,
): Promise<Fd> {
  const path = resolve(room.paths.state, layer.file);
  const seal = room.seals.get(layer.file);
  const file = openLayer(layer, path);
  try {
    const witness = witnessOf(file, layer);
    const measured = seal === undefined ? undefined : measureVerity(file);
    if (measured !== undefined && measured === seal) return file;
    if (measured !== undefined) throw damaged(layer, 'its seal is another one');
    const key = `${layer.file} ${layer.digest}`;
    const before = seen.get(key);
    const known = before === undefined ? seal === undefined : sameFile(before, witness);
    if (!known) {
      const found = await rangeDigest(path, layer.offset, layer.size);
      if (found !== layer.digest || !sameFile(witness, witnessOf(file, layer))) {
        throw damaged(layer, 'its bytes have changed');
      }
    }
    seen.set(key, witness);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

function refuseDamaged({ damaged: known }: PersonasRoom, layers: readonly Layer[]): void {
  const layer = layers.find(({ digest }) => known.has(digest));
  if (layer !== undefined) throw damaged(layer, known.get(layer.digest) ?? 'it is damaged');
}

function openLayer(layer: Layer, path: string): Fd {
  try {
    return openFile(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) throw damaged(layer, 'its file is not there');
    throw error;
  }
}

function damaged({ kind, file }: Layer, reason: string): PersonaError {
  return new PersonaError('state-damaged', `the ${kind} layer ${file}: ${reason}`);
}
