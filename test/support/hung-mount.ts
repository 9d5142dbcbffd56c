import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { run } from './needs.ts';

/** A FUSE file system whose server never answers. */
export function mountHung(at: string): { release(): void } {
  const device = openSync('/dev/fuse', 'r+');
  const options = 'fd=3,rootmode=40755,user_id=0,group_id=0,allow_other';
  const mounted = spawnSync(
    '/bin/mount',
    ['-i', '-t', 'fuse', '-o', options, 'personad-test', at],
    {
      stdio: ['ignore', 'pipe', 'pipe', device],
      encoding: 'utf8',
    },
  );
  if (mounted.status !== 0) {
    closeSync(device);
    throw new Error(mounted.stderr);
  }
  return {
    release() {
      // Closing the server's end fails every waiting request.
      closeSync(device);
      run('umount', '-l', at);
    },
  };
}

/** Why none can be made here. */
export const hasFuse = (): string | undefined => {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return undefined;
  } catch {
    return 'needs /dev/fuse';
  }
};
