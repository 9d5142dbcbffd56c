import { hostname, machine } from 'node:os';
import type { OspMetadata } from '../images/osp-metadata.ts';
import type { OspSignature } from '../images/osp-signature.ts';
import type { OspFacts } from '../images/osp-writer.ts';
import type { BaseFacts } from './base-facts.ts';
import type { Place } from './staging.ts';

/** How a persona's image came to be. */
export type Origin = OspMetadata['origin'];

/** A member that becomes a layer, or none when nothing is in it. */
export interface DraftMember extends Place {
  sha256: string;
  empty: boolean;
}

/** A persona on its way into the store: what the first steps of its change found out for the later ones. */
export interface Draft {
  /** Its name here. */
  name: string;
  base: { digest: string; name?: string };
  /** What its file says of it, but for the members. */
  facts: OspFacts;
  environment: Record<string, string>;
  /** Domain of trust of the layers made for it. */
  domain: string;
  seed: DraftMember;
  runtime: DraftMember;
  applications: Place;
  /** Where its difference image comes from. */
  image:
    | { from: 'tree' }
    /** A foreign image: rebuilt. `place` absent: it is the input named `diff`. */
    | { from: 'foreign'; place?: Place }
    /** Signed by a trusted key: taken as it is; the file too when the image is aligned in it. */
    | {
        from: 'signed';
        place: Place;
        inPlace: boolean;
        /** Both stay as they are, wherever the members lie. */
        metadata: OspMetadata;
        signature: OspSignature;
      };
  /** This machine signed it: root has given its word already. */
  allowed: boolean;
  /** Of an imported file that is not kept as it came. */
  originDigest?: string;
  originBytes?: number;
  /** It is in the store already: nothing is to be done. */
  existing?: string;
}

const plainWord = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** What a persona created here says of itself. */
export function factsOf(given: {
  name: string;
  version: string;
  description: string;
  base: BaseFacts;
  ownerUid: number;
  nowMs: number;
  origin: Origin;
}): OspFacts {
  const { base, ownerUid, nowMs } = given;
  const id = base.os?.id ?? '';
  return {
    name: given.name,
    version: given.version,
    description: given.description,
    creator: `uid ${ownerUid} at ${hostname()}`.slice(0, 256),
    created: `${new Date(nowMs).toISOString().slice(0, 19)}Z`,
    target_os: {
      id: plainWord.test(id) ? id : 'linux',
      version_id: (base.os?.version ?? '').slice(0, 64),
      architecture: machine(),
    },
    base_digest: base.digest,
    required_resources: {},
    origin: given.origin,
  };
}

/** What an existing file says of itself, without what only its writer can know. */
export function factsFrom(metadata: OspMetadata): OspFacts {
  const { members: _members, format_version: _version, ...facts } = metadata;
  return facts;
}
