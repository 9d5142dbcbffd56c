import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type BuiltMember, builtTar } from './tar-builder.ts';

/** How an image is built by hand. */
export interface BuiltImage {
  /** Uncompressed layer tars, lowest first. */
  layers: Buffer[];
  packing?: ('none' | 'gzip' | 'zstd')[];
  architecture?: string;
  name?: string;
}

const hex = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Files of an OCI layout, by path. */
export type LayoutFiles = Map<string, Buffer>;

/** An OCI image layout with these images in its index. */
export function builtLayout(...images: BuiltImage[]): LayoutFiles {
  const files: LayoutFiles = new Map();
  const manifests = images.map((image) => addImage(files, image));
  files.set('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
  files.set('index.json', json({ schemaVersion: 2, manifests }));
  return files;
}

function addImage(files: LayoutFiles, image: BuiltImage): object {
  const architecture = image.architecture ?? 'amd64';
  const layers = image.layers.map((tar, i) => {
    const packing = image.packing?.[i] ?? 'none';
    const blob =
      packing === 'gzip' ? gzipSync(tar) : packing === 'zstd' ? zstdCompressSync(tar) : tar;
    const suffix = packing === 'none' ? '' : `+${packing}`;
    return addBlob(files, blob, `application/vnd.oci.image.layer.v1.tar${suffix}`);
  });
  const diffIds = image.layers.map((tar) => `sha256:${hex(tar)}`);
  const config = { os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: diffIds } };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: addBlob(files, json(config), 'application/vnd.oci.image.config.v1+json'),
    layers,
  };
  const annotations =
    image.name === undefined ? {} : { 'org.opencontainers.image.ref.name': image.name };
  return {
    ...addBlob(files, json(manifest), 'application/vnd.oci.image.manifest.v1+json'),
    platform: { os: 'linux', architecture },
    annotations,
  };
}

/** Puts a blob into a layout and returns its descriptor. */
export function addBlob(files: LayoutFiles, bytes: Buffer, mediaType: string): { digest: string } {
  files.set(`blobs/sha256/${hex(bytes)}`, bytes);
  return { mediaType, digest: `sha256:${hex(bytes)}`, size: bytes.length } as { digest: string };
}

/** The old form of `docker save`: a folder for each layer. */
export function builtDockerArchive(layers: Buffer[]): LayoutFiles {
  const files: LayoutFiles = new Map();
  const diffIds = layers.map((tar) => `sha256:${hex(tar)}`);
  const config = json({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: diffIds } });
  const paths = layers.map((tar) => {
    files.set(`${hex(tar)}/layer.tar`, tar);
    return `${hex(tar)}/layer.tar`;
  });
  files.set(`${hex(config)}.json`, config);
  files.set(
    'manifest.json',
    json([{ Config: `${hex(config)}.json`, RepoTags: ['x:1'], Layers: paths }]),
  );
  return files;
}

/** A layout as one tar. */
export function layoutTar(files: LayoutFiles, ...more: BuiltMember[]): Buffer {
  return builtTar(...[...files].map(([name, data]) => ({ name, data })), ...more);
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
