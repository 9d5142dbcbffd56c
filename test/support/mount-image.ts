import { run } from './needs.ts';

/** Tries before giving up, and milliseconds between them. */
const tries = 50;
const pauseMs = 20;

/**
 * Mounts the file system in `image` at the folder `place`. mount(8) gives up when another program takes, or is just
 * giving back, the free loop device it has found (ENXIO): that is tried again.
 */
export function mountImage(image: string, place: string, options = ''): void {
  for (let left = tries; ; left--) {
    try {
      run('mount', '-o', options === '' ? 'loop' : `loop,${options}`, image, place);
      return;
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      if (left === 0 || stderr?.includes('failed to setup loop device') !== true) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
    }
  }
}
