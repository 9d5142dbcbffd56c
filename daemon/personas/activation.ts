import { relative, resolve } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { openFile } from '../kernel/openat.ts';
import { measureVerity } from '../kernel/verity.ts';
import { baseFacts, baseLayer } from './base-facts.ts';
import { sameFile, witnessOf } from './file-witness.ts';
import type { Layer } from './layer.ts';
import type { Persona, PersonaLayer } from './persona.ts';
import type { Activatable, PersonaSource } from './persona-source.ts';
import type { PersonasRoom } from './room.ts';
import { checkTrust, isTrusted } from './trust.ts';
import { rangeDigest } from './verified-range.ts';

/**
 * What slots ask when they activate a persona. Signature and revocation are judged anew each time. A file is opened
 * once and mounted by that descriptor; its bytes were hashed when it was imported. A sealed file is told by what the kernel
 * measures of it; another one is hashed again when it is not the one that was seen last, or has lost its seal. What is damaged is
 * never mounted.
 */
export function personaSource(room: PersonasRoom): PersonaSource {
  return {
    async persona(reference): Promise<Activatable> {
      const persona = trusted(room, reference);
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
    async open(layer) {
      refuseDamaged(room, [layer]);
      return await openVerified(room, layer);
    },
  };
}

/**
 * A name is that one persona; a digest also all others that are the same, each with a signature of its own: the first that is trusted. Throws
 * what the first one throws.
 */
function trusted({ book }: PersonasRoom, reference: string): Persona {
  const first = book.persona(reference);
  const { digest } = first;
  const twins = reference === digest ? book.personas().filter((one) => one.digest === digest) : [];
  const found = twins.find((one) => isTrusted(book, one)) ?? first;
  checkTrust(book, found);
  return found;
}

function layerOf({ kind, digest, file, offset, bytes }: PersonaLayer): Layer {
  return { kind, digest, file, offset, size: bytes };
}

/** Where it lies in the state tree: rows of earlier versions hold absolute paths. */
function placeOf({ paths }: PersonasRoom, { file }: Layer): { path: string; place: string } {
  const path = resolve(paths.state, file);
  return { path, place: relative(paths.state, path) };
}

async function openVerified(room: PersonasRoom, layer: Layer): Promise<Fd> {
  const { witnesses, seals } = room;
  const { path, place } = placeOf(room, layer);
  const seal = seals.get(place);
  const file = openLayer(layer, path);
  try {
    const look = { what: nameOf(layer), sizeMin: layer.offset + layer.size };
    const witness = witnessOf(file, look);
    const measured = seal === undefined ? undefined : measureVerity(file);
    if (measured !== undefined && measured === seal) return file;
    if (measured !== undefined) throw damaged(layer, 'its seal is another one');
    const before = witnesses.get(place)?.witness;
    const known = before === undefined ? seal === undefined : sameFile(before, witness);
    if (!known) {
      const found = await rangeDigest(path, layer.offset, layer.size);
      if (!sameFile(witness, witnessOf(file, look))) throw damaged(layer, 'it is being changed');
      if (found !== layer.digest) {
        witnesses.damaged(place, bytesChanged, room.now(), witness);
        throw damaged(layer, bytesChanged);
      }
    }
    witnesses.seen(place, witness);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

const bytesChanged = 'its bytes have changed';

function refuseDamaged(room: PersonasRoom, layers: readonly Layer[]): void {
  for (const layer of layers) {
    const problem = room.witnesses.problemOf(placeOf(room, layer).place);
    if (problem !== undefined) throw damaged(layer, problem);
  }
}

function openLayer(layer: Layer, path: string): Fd {
  try {
    return openFile(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) throw damaged(layer, 'its file is not there');
    throw error;
  }
}

const nameOf = ({ kind, file }: Layer): string => `the ${kind} layer ${file}`;

function damaged(layer: Layer, reason: string): PersonaError {
  return new PersonaError('state-damaged', `${nameOf(layer)}: ${reason}`);
}
