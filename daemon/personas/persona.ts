import type { OspMetadata } from '../images/osp-metadata.ts';
import type { OspSignature } from '../images/osp-signature.ts';
import type { LayerKind } from './layer.ts';

/** One layer of a persona, by its place in the state tree. */
export interface PersonaLayer {
  kind: LayerKind;
  digest: string;
  /** Relative to the state tree: an image of its own, or the persona's file. */
  file: string;
  /** Where it begins in the file, bytes. */
  offset: number;
  bytes: number;
}

/** An imported persona. Never changed: another content is another persona. */
export interface Persona {
  name: string;
  /** The identity: digest of the canonical metadata. */
  digest: string;
  owner: number;
  importedMs: number;
  /** Bytes of its file in the store. */
  bytes: number;
  /** SHA-256 of that file: what a download is compared with. */
  fileDigest: string;
  base: { digest: string; name?: string };
  /** Top first; the base is the last one. */
  layers: PersonaLayer[];
  metadata: OspMetadata;
  signature?: OspSignature;
  environment: Record<string, string>;
  /** Set-id files, files with capabilities and devices in it, as root allowed them. */
  privileged: string[];
  /** Within which the layers made for it may serve others. */
  domain: string;
  /** Digest of the file as it came, when it was repacked; the bytes themselves are kept beside it. */
  originDigest?: string;
  originBytes?: number;
  /** What the kernel measures of the file, where it was sealed. */
  verity?: string;
}
