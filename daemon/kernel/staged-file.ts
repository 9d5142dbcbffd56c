import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';

/** A file that is being received: owned by the daemon, read-only for everyone from the first instant. */
export interface StagedFile {
  readonly path: string;
  /** Bytes written so far. */
  bytes(): number;
  write(chunk: Uint8Array): Promise<void>;
  /** Brings to the disk what is written by now, so that `finish` has little left to wait for. */
  flush(): Promise<void>;
  /** Makes the bytes durable and closes the file. */
  finish(): Promise<void>;
  /** Closes and removes the file. Safe to repeat, and after `finish`. */
  abandon(): Promise<void>;
}

/** Creates the file at `path`, which must not exist. */
export async function createStaged(path: string): Promise<StagedFile> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const handle = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o400);
  let written = 0;
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  return {
    path,
    bytes: () => written,
    async write(chunk) {
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, at);
        at += bytesWritten;
        written += bytesWritten;
      }
    },
    flush: () => handle.datasync(),
    async finish() {
      await handle.sync();
      await close();
    },
    async abandon() {
      await close();
      await unlink(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    },
  };
}
