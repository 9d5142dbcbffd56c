import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { openSealed } from '../kernel/sealed.ts';
import { originalFile, personaFile } from './persona-files.ts';
import type { PersonasRoom } from './room.ts';

/** A persona file to send. */
export interface ExportedFile {
  bytes: number;
  /** SHA-256 of the bytes. */
  digest: string;
  fileName: string;
  /** Opens it, once, for the one who fetches it. */
  open(): Promise<Readable>;
}

/**
 * The file of a persona, or, with `original`, the bytes as they came (the same, when it was not repacked).
 * Throws persona-not-found.
 */
export function exportPersona(
  room: PersonasRoom,
  params: { persona: string; original?: boolean | undefined },
): ExportedFile {
  const persona = room.book.persona(params.persona);
  const { name, originDigest, originBytes } = persona;
  const original = params.original === true && originDigest !== undefined;
  const file = original ? originalFile(persona.digest) : personaFile(persona.digest);
  return {
    bytes: original ? (originBytes ?? 0) : persona.bytes,
    digest: original ? originDigest : persona.fileDigest,
    fileName: `${name}.osp`,
    async open() {
      const handle = await openSealed(join(room.paths.state, file));
      return handle.createReadStream();
    },
  };
}
