import { createHash } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import {
  type Descriptor,
  descriptorOf,
  descriptorsOf,
  type ImageFiles,
  jsonObject,
} from './oci-json.ts';
import { badArchive } from './tar-headers.ts';

/** One layer of the chosen image: where its blob lies and what has to come out of it. */
export interface OciLayer {
  path: string;
  /** Digest of the blob as stored; absent in docker archives, which only know the content. */
  digest?: string;
  size?: number;
  /** Digest of the uncompressed tar. */
  diffId: string;
}

/** Which image to take out of several. */
export interface ImageChoice {
  /** As process.arch says it. */
  arch: string;
  /** Tag or full name, where an archive holds several images. */
  reference?: string;
}

/** Names of machines in images. */
const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
/** An index may hold an index, and so on. */
const indexDepthMax = 4;
const layersMax = 1000;

const isIndex = (mediaType: string) => /image\.index|manifest\.list/.test(mediaType);

/**
 * The layers, lowest first, of the one image in a layout or archive that fits this machine.
 * @throws PersonaError 'bad-archive', 'digest-mismatch', or 'not-supported'.
 */
export async function imageLayers(files: ImageFiles, choice: ImageChoice): Promise<OciLayer[]> {
  if (files.has('index.json')) return layoutLayers(files, choice);
  if (files.has('manifest.json')) return dockerLayers(files, choice);
  throw badArchive('it has neither index.json nor manifest.json: this is no container image');
}

async function layoutLayers(files: ImageFiles, choice: ImageChoice): Promise<OciLayer[]> {
  const index = jsonObject(await files.load('index.json'), 'index.json');
  const descriptor = await pick(files, descriptorsOf(index.manifests, 'index.json'), choice, 0);
  const manifest = jsonObject(await loadBlob(files, descriptor), 'the manifest');
  const config = descriptorOf(manifest.config, 'the manifest');
  const diffIds = diffIdsOf(jsonObject(await loadBlob(files, config), 'the image config'), choice);
  const layers = descriptorsOf(manifest.layers, 'the manifest');
  if (layers.length !== diffIds.length)
    throw badArchive('manifest and config disagree on the layers');
  return layers.map(({ digest, size, mediaType }, i) => {
    if (mediaType.includes('encrypted')) {
      throw new PersonaError('not-supported', { what: 'a container image with encrypted layers' });
    }
    return { path: blobPath(digest), digest, size, diffId: diffIds[i] as string };
  });
}

/** Follows indexes down to one manifest. */
async function pick(
  files: ImageFiles,
  all: Descriptor[],
  choice: ImageChoice,
  depth: number,
): Promise<Descriptor> {
  if (depth > indexDepthMax) throw badArchive('the container image nests its indexes too deeply');
  const images = all.filter((one) => !('vnd.docker.reference.type' in one.annotations));
  const named = images.filter((one) => depth > 0 || isNamed(one, choice.reference));
  const fitting = named.filter(({ platform }) => platform === undefined || fits(platform, choice));
  // Of several builds for one machine the one for every model of it is meant.
  const plain = fitting.filter(({ platform }) => (platform?.variant ?? '') === '');
  const candidates = fitting.length > 1 && plain.length > 0 ? plain : fitting;
  const only = candidates[0];
  if (only === undefined) throw noImage(images, choice);
  if (new Set(candidates.map(({ digest }) => digest)).size > 1) throw severalImages(candidates);
  if (!isIndex(only.mediaType)) return only;
  const index = jsonObject(await loadBlob(files, only), 'the index');
  return pick(files, descriptorsOf(index.manifests, 'the index'), choice, depth + 1);
}

function isNamed(descriptor: Descriptor, reference: string | undefined): boolean {
  return reference === undefined || namesOf(descriptor).includes(reference);
}

function namesOf({ annotations }: Descriptor): string[] {
  const names = [
    annotations['org.opencontainers.image.ref.name'],
    annotations['io.containerd.image.name'],
  ];
  return names.filter((name) => name !== undefined);
}

function fits(platform: NonNullable<Descriptor['platform']>, choice: ImageChoice): boolean {
  return platform.os === 'linux' && platform.architecture === architectures[choice.arch];
}

function noImage(images: readonly Descriptor[], choice: ImageChoice): Error {
  const there = images.map(({ platform, digest }) =>
    platform ? `${platform.os}/${platform.architecture}` : digest,
  );
  const wanted = `linux/${architectures[choice.arch] ?? choice.arch}${choice.reference ? ` named ${JSON.stringify(choice.reference)}` : ''}`;
  return badArchive(
    `it holds no image for ${wanted}, only: ${there.slice(0, 20).join(', ') || 'none'}`,
  );
}

function severalImages(images: readonly Descriptor[]): Error {
  const there = images.map((image) => namesOf(image)[0] ?? image.digest);
  const error = badArchive(`it holds several images: ${there.slice(0, 20).join(', ')}`);
  error.hint = 'Save one image only, for example with `skopeo copy` or `podman save IMAGE`.';
  return error;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** A small blob, checked. */
async function loadBlob(files: ImageFiles, { digest, size }: Descriptor): Promise<Buffer> {
  const bytes = await files.load(blobPath(digest));
  const algorithm = digest.split(':')[0] as string;
  const found = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
  if (found !== digest || bytes.length !== size) {
    throw new PersonaError('digest-mismatch', {
      what: 'a blob of the image',
      expected: digest,
      found,
    });
  }
  return bytes;
}

async function dockerLayers(files: ImageFiles, choice: ImageChoice): Promise<OciLayer[]> {
  const list = jsonObject(await files.load('manifest.json'), 'manifest.json');
  if (!Array.isArray(list)) throw badArchive('manifest.json is not a list');
  const images = list.filter(
    (one) => choice.reference === undefined || tagsOf(one).includes(choice.reference),
  );
  if (images.length !== 1) {
    const error = badArchive(`it holds ${images.length} images that could be meant, not one`);
    error.hint = 'Save one image only: `docker save IMAGE`.';
    throw error;
  }
  const { Config: config, Layers: paths } = images[0] as { Config?: unknown; Layers?: unknown };
  if (typeof config !== 'string' || !Array.isArray(paths))
    throw badArchive('manifest.json is damaged');
  const diffIds = diffIdsOf(jsonObject(await files.load(config), 'the image config'), choice);
  if (paths.length !== diffIds.length)
    throw badArchive('manifest and config disagree on the layers');
  return paths.map((path: unknown, i) => ({ path: String(path), diffId: diffIds[i] as string }));
}

function tagsOf(image: unknown): unknown[] {
  const tags = (image as { RepoTags?: unknown } | null)?.RepoTags;
  return Array.isArray(tags) ? tags : [];
}

/** The digests of the uncompressed layers; checks that the image is for this machine. */
function diffIdsOf(config: Record<string, unknown>, choice: ImageChoice): string[] {
  const { os, architecture } = config;
  if (os !== 'linux' || architecture !== architectures[choice.arch]) {
    throw badArchive(
      `the image is for ${String(os)}/${String(architecture)}, not for this machine`,
    );
  }
  const { diff_ids: ids } = (config.rootfs ?? {}) as { diff_ids?: unknown };
  if (!Array.isArray(ids) || ids.length > layersMax)
    throw badArchive('the image config is damaged');
  return ids.map((id: unknown) => {
    if (typeof id !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(id)) {
      throw badArchive('the image config holds a wrong digest');
    }
    return id;
  });
}
