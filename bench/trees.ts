import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { closeSync, copyFileSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const POOL_BYTES = 8 * 1024 * 1024;

/** Writes a tree of `bytes` in `files` files of equal size below `folder`, a hundred files to a folder. */
export function makeTree(folder: string, bytes: number, files: number): void {
  const pool = randomFillSync(Buffer.alloc(POOL_BYTES));
  const size = Math.floor(bytes / files);
  for (const place of ['etc', 'usr/bin', 'proc', 'dev', 'tmp', 'run']) {
    mkdirSync(`${folder}/${place}`, { recursive: true });
  }
  for (let i = 0; i < files; i++) {
    const place = `${folder}/usr/data/${Math.floor(i / 100)}`;
    if (i % 100 === 0) mkdirSync(place, { recursive: true });
    writeFile(`${place}/file-${i}`, pool, (i * 4099) % (POOL_BYTES / 2), size);
  }
}

function writeFile(path: string, pool: Buffer, from: number, size: number): void {
  const fd = openSync(path, 'w');
  try {
    for (let at = 0; at < size; ) {
      const part = pool.subarray(from, Math.min(pool.length, from + size - at));
      at += writeSync(fd, part);
    }
  } finally {
    closeSync(fd);
  }
}

/** Rewrites every hundredth file and puts `label` into /etc/persona-label: the changed tree of a persona. */
export function changeTree(folder: string, files: number, label: string): void {
  const pool = randomFillSync(Buffer.alloc(64 * 1024));
  for (let i = 0; i < files; i += 100) {
    writeFile(`${folder}/usr/data/${Math.floor(i / 100)}/file-${i}`, pool, 0, pool.length);
  }
  const fd = openSync(`${folder}/etc/persona-label`, 'w');
  writeSync(fd, label);
  closeSync(fd);
}

/** Puts `true` with its libraries into the tree, so that containers can start something in it. */
export function makeRunnable(folder: string): void {
  const libraries = execFileSync('ldd', ['/bin/true'], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  for (const path of ['/bin/true', ...libraries]) {
    mkdirSync(`${folder}${dirname(path)}`, { recursive: true });
    copyFileSync(path, `${folder}${path}`);
  }
  mkdirSync(`${folder}/usr/lib`, { recursive: true });
  writeFileSync(`${folder}/usr/lib/os-release`, 'ID=bench\nVERSION_ID=1\n');
}
