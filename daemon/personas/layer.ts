import { join } from 'node:path';
import { digestToFileName } from '../../ipc/values.ts';
import { statePlaces } from '../config/paths.ts';

/** What a layer holds, in the order in which layers lie on one another: config on top, base at the bottom. */
export type LayerKind = 'base' | 'diff' | 'apps' | 'seed' | 'config';

/** One read-only erofs image of a persona, ready to be mounted. */
export interface Layer {
  /** `sha256:HEX` of the image's bytes: two layers with one digest are the same layer. */
  digest: string;
  kind: LayerKind;
  /** The file that holds it (an .erofs file, or an .osp with the image inside), below the state tree: that may be moved. */
  file: string;
  /** Where it begins in the file, bytes, a multiple of 4096. */
  offset: number;
  /** Its length, bytes. */
  size: number;
}

/** The layers of one persona, top first, as an overlay takes them. */
export type LayerStack = Layer[];

/** Where a layer of this digest lies, relative to the state tree. */
export function layerFile(digest: string): string {
  return join(statePlaces.layers, `${digestToFileName(digest)}.erofs`);
}
