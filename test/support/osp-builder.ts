import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type BuiltMember, builtTar } from './tar-builder.ts';

/** The content of a persona file made by hand: any member can be left out or replaced. */
export interface BuiltOsp {
  diff?: Buffer;
  applications?: string;
  seed?: Buffer;
  runtime?: string;
  /** Changes to the metadata, after sizes and digests were put in. */
  metadata?: (value: Record<string, unknown>) => unknown;
  /** The text of metadata.json as it is. */
  metadataText?: string;
  /** Changes to the list of members before they are put into the tar. */
  members?: (members: BuiltMember[]) => (BuiltMember | Buffer)[];
}

export const ospFacts = {
  name: 'work',
  version: '1.0',
  description: 'A persona for work',
  creator: 'somebody',
  created: '2026-01-31T12:00:00Z',
  target_os: { id: 'debian', version_id: '12', architecture: 'x86_64' },
  base_digest: `sha256:${'ab'.repeat(32)}`,
  required_resources: {},
  origin: 'created',
} as const;

/** An empty data seed. */
export const emptySeed = gzipSync(builtTar());

/** A plain, unaligned persona file, as any tool could make it. */
export function builtOsp(osp: BuiltOsp = {}): Buffer {
  const contents: Record<string, Buffer> = {
    'diff_image.img': osp.diff ?? Buffer.alloc(5000, 'image'),
    'application_list.txt': Buffer.from(osp.applications ?? '# none\n'),
    'data_seed.tar.gz': osp.seed ?? emptySeed,
    'runtime_config.json': Buffer.from(osp.runtime ?? '{}'),
  };
  const members = Object.fromEntries(
    Object.entries(contents).map(([name, bytes]) => {
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return [name, { size: bytes.length, sha256 }];
    }),
  );
  const value: Record<string, unknown> = { format_version: 1, ...ospFacts, members };
  const metadata = osp.metadataText ?? JSON.stringify(osp.metadata?.(value) ?? value, null, 2);
  const list: BuiltMember[] = [
    { name: 'metadata.json', data: metadata },
    ...Object.entries(contents).map(([name, data]) => ({ name, data })),
  ];
  return builtTar(...(osp.members?.(list) ?? list));
}
