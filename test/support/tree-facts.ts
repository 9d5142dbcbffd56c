import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ExecutionContext } from 'ava';
import { type Entry, extentsOf } from '../../daemon/images/entry.ts';
import { defaultLimits } from '../../daemon/images/limits.ts';
import { openImage } from '../../daemon/images/open-image.ts';
import type { Tree } from '../../daemon/images/tree.ts';
import { PersonaError } from '../../ipc/errors.ts';

/**
 * Every path with all that its entry says and the digest of its content as a program would read it
 * (holes as zeros): equal for equal trees, however sparse their files are stored.
 */
export async function treeFacts(tree: Tree): Promise<Record<string, unknown>> {
  const facts: Record<string, unknown> = {};
  for (const entry of tree.entries) {
    const { extents: _, path, ...rest } = entry;
    facts[path] =
      entry.type === 'file' ? { ...rest, digest: await contentDigest(tree, entry) } : rest;
  }
  return facts;
}

/** What differs between two trees, path by path: empty when they are equal. Short, unlike both. */
export function differences(
  seen: Record<string, unknown>,
  expected: Record<string, unknown>,
): Record<string, unknown> {
  const paths = new Set([...Object.keys(seen), ...Object.keys(expected)]);
  const different = [...paths].filter((path) => !isDeepStrictEqual(seen[path], expected[path]));
  return Object.fromEntries(
    different.map((path) => [path, { seen: seen[path], expected: expected[path] }]),
  );
}

async function contentDigest(tree: Tree, entry: Entry): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of tree.read(entry)) pieces.push(Buffer.from(piece));
  const stored = Buffer.concat(pieces);
  const whole = Buffer.alloc(entry.size ?? 0);
  let at = 0;
  for (const [offset, length] of extentsOf(entry)) {
    stored.copy(whole, offset, at, at + length);
    at += length;
  }
  if (at !== stored.length) throw new Error(`${entry.path}: ${stored.length} bytes, not ${at}`);
  return createHash('sha256').update(whole).digest('hex');
}

/** Opens an image file of whatever format; its descriptors are closed after the test. */
export async function treeOfImage(
  t: ExecutionContext,
  folder: string,
  file: string,
): Promise<Tree> {
  const fd = openSync(file, 'r');
  const spoolFd = openSync(join(folder, `spool-${Math.random()}`), 'wx+');
  t.teardown(() => {
    closeSync(fd);
    closeSync(spoolFd);
  });
  return openImage(fd, { limits: defaultLimits, spoolFd });
}

/** Runs work on damaged input: it has to succeed or to end in an error of ours. */
export async function successOrPersonaError(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof PersonaError)) throw error;
    if (error.code === 'internal') throw error;
  }
}

/** Reads all there is in a tree. */
export async function readWhole(tree: Tree, bytesMax = 64 * 1024 * 1024): Promise<void> {
  let bytes = 0;
  for (const entry of tree.entries) {
    if (entry.type !== 'file') continue;
    for await (const piece of tree.read(entry)) {
      bytes += piece.length;
      if (bytes > bytesMax) return;
    }
  }
}
