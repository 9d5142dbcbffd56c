import { isCode } from '../../ipc/errors.ts';
import type { LayerKind } from './layer.ts';
import type { Origin } from './osp-draft.ts';
import type { Persona } from './persona.ts';
import type { PersonaBook } from './persona-book.ts';
import { type SignatureState, signatureState } from './trust.ts';

/** A persona as people see it. */
export interface PersonaPage {
  name: string;
  digest: string;
  base: { name?: string; digest: string };
  description?: string;
  creator?: string;
  version?: string;
  createdMs?: number;
  importedMs: number;
  bytes: number;
  signature: { state: SignatureState; key?: string; origin?: Origin };
  layers: { kind: LayerKind; digest: string; bytes: number }[];
  environment?: Record<string, string>;
  originDigest?: string;
  privileged?: string[];
  usedBy: { slots: string[] };
}

/** The page of a persona; `slots` are the names of those that use it. */
export function personaPage(book: PersonaBook, persona: Persona, slots: string[]): PersonaPage {
  const { metadata, environment, privileged, originDigest, signature } = persona;
  return {
    name: persona.name,
    digest: persona.digest,
    base: { ...persona.base },
    ...(metadata.description === '' ? {} : { description: metadata.description }),
    ...(metadata.creator === '' ? {} : { creator: metadata.creator }),
    version: metadata.version,
    createdMs: Date.parse(metadata.created),
    importedMs: persona.importedMs,
    bytes: persona.bytes,
    signature: {
      state: stateOf(book, persona),
      ...(signature === undefined ? {} : { key: signature.key_id }),
      origin: metadata.origin,
    },
    layers: persona.layers.map(({ kind, digest, bytes }) => ({ kind, digest, bytes })),
    ...(Object.keys(environment).length === 0 ? {} : { environment }),
    ...(originDigest === undefined ? {} : { originDigest }),
    ...(privileged.length === 0 ? {} : { privileged }),
    usedBy: { slots },
  };
}

/** For a page a signature that does not hold is worth nothing; `verify` says why. */
function stateOf(book: PersonaBook, { metadata, signature }: Persona): SignatureState {
  try {
    return signatureState(book, metadata, signature);
  } catch (error) {
    if (isCode(error, 'bad-signature')) return 'none';
    throw error;
  }
}
