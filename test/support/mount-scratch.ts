import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { type ErofsWay, mountErofs } from '../../daemon/kernel/erofs.ts';
import { Fd } from '../../daemon/kernel/fd.ts';
import { readMountinfo } from '../../daemon/kernel/mountinfo.ts';
import { unmount } from '../../daemon/kernel/mounts.ts';
import { type Lower, type LowerWay, mountOverlay } from '../../daemon/kernel/overlay.ts';
import { run } from './needs.ts';

/** Takes off every mount below `folder`, the newest first. */
export async function unmountBelow(folder: string): Promise<void> {
  for (let rounds = 0; rounds < 4; rounds += 1) {
    const mounts = readMountinfo().filter(({ at }) => at === folder || at.startsWith(`${folder}/`));
    if (mounts.length === 0) return;
    for (const { at } of mounts.reverse())
      await unmount(at, { detach: true }).catch(() => undefined);
  }
}

/** A private folder that is gone after the test, with all mounts in it. Other users may pass through it. */
export function scratchFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'persona-kernel-'));
  chmodSync(folder, 0o711);
  t.teardown(async () => {
    await unmountBelow(folder);
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** An erofs image with these files (path -> text), made by the reference tool. Returns its path. */
export function imageOf(folder: string, name: string, files: Record<string, string>): string {
  const source = join(folder, `${name}.tree`);
  const image = join(folder, `${name}.erofs`);
  if (existsSync(image)) return image; // it may be mounted: never written again
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(source, path)), { recursive: true });
    writeFileSync(join(source, path), text);
  }
  return imageOfTree(source, image);
}

/** An erofs image of a folder as it is. Returns its path. */
export function imageOfTree(source: string, image: string): string {
  run('mkfs.erofs', '-T0', image, source);
  return image;
}

export function openImage(path: string): Fd {
  return new Fd(openSync(path, 'r'), path);
}

/** Mounts an image and closes its file; the mount is closed after the test. */
export async function layerOf(
  t: ExecutionContext,
  image: string,
  way: ErofsWay = 'file',
): Promise<Fd> {
  using file = openImage(image);
  const mount = await mountErofs({ file }, way);
  t.teardown(() => mount.closeLater());
  return mount;
}

let uppers = 0;

/** A new folder with `fs` and `work`. */
export function newUpper(folder: string): string {
  uppers += 1;
  const upper = join(folder, `upper-${uppers}`);
  mkdirSync(join(upper, 'fs'), { recursive: true });
  mkdirSync(join(upper, 'work'));
  return upper;
}

/** A detached overlay of these layers on a new upper; closed after the test. */
export async function treeOf(
  t: ExecutionContext,
  folder: string,
  lowers: Lower[],
  way: LowerWay = 'fd',
): Promise<Fd> {
  const tree = await mountOverlay({ lowers, upper: newUpper(folder), source: 'persona:test' }, way);
  t.teardown(() => tree.closeLater());
  return tree;
}

/** A program that is talked to line by line; killed after the test. */
export interface Partner {
  process: ChildProcess;
  /** The next line it writes. */
  line(): Promise<string>;
  say(text: string): void;
  /** Ends it and waits until it is gone. */
  end(): Promise<void>;
}

/** Starts a program without a shell and returns the two ends of the conversation. */
export function partner(t: ExecutionContext, file: string, ...args: string[]): Partner {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const first = waiting.shift();
    if (first === undefined) lines.push(line);
    else first(line);
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const end = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  t.teardown(end);
  return {
    process: child,
    line: () =>
      new Promise((resolve) => {
        const first = lines.shift();
        if (first === undefined) waiting.push(resolve);
        else resolve(first);
      }),
    say: (text) => child.stdin?.write(`${text}\n`),
    end,
  };
}
