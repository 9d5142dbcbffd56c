import type { Fd } from '../kernel/fd.ts';
import type { Layer, LayerStack } from './layer.ts';

/** What a slot needs to know of a persona, or of a clean base, to activate it. */
export interface Activatable {
  /** Absent: the clean base. */
  persona?: { name: string; digest: string };
  base: { digest: string; name?: string };
  layers: LayerStack;
  /** Environment of programs that run in it. */
  environment?: Record<string, string>;
}

/** Where slots get personas from: the persona store, which answers for signatures, revocation and integrity each time. */
export interface PersonaSource {
  /** By name or `sha256:` digest. Throws persona-not-found, not-trusted, key-revoked, state-damaged. */
  persona(reference: string): Promise<Activatable>;
  /** The clean base of this digest. Throws base-not-found and the like. */
  base(digest: string): Promise<Activatable>;
  /** The verified file of a layer, open for reading; the caller closes it. */
  open(layer: Layer): Promise<Fd>;
}

/**
 * The answer for what was chosen earlier: since then its key may have been revoked, it may have been removed, or its file
 * may be damaged (SECURITY 10). Throws as the source does.
 */
export function askedAgain(
  source: PersonaSource,
  { persona, base }: Pick<Activatable, 'persona' | 'base'>,
): Promise<Activatable> {
  return persona === undefined ? source.base(base.digest) : source.persona(persona.digest);
}
