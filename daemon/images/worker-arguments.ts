import { PersonaError } from '../../ipc/errors.ts';
import { defaultLimits, type Limits } from './limits.ts';
import type { SequenceKind } from './sequence.ts';

/** Images that lie on top of each other, the base first. */
export type Side = { fd: number; offset: number }[];

/** What the daemon asks of the worker. */
export interface WorkerArguments {
  mode: string;
  /** Of `read`: a key of the table of readers. */
  format: string;
  /** Of `merge` and `compare`. */
  sides: Side[];
  limits: Limits;
  kind: SequenceKind;
  /** Where the image in fd 3, and the one in fd 4, begin. */
  offset: number;
  secondOffset: number;
  size: { size?: number };
  spoolFd: { spoolFd?: number };
  partition: { partition?: number };
  /** Of `compare`: how many differences are listed. */
  most?: number;
}

const modesWithSides = new Set(['merge', 'compare', 'differences', 'layer', 'seed', 'runtime']);

/**
 * Parses the command line of the worker: MODE, its words, and options `--layer`, `--offset=N`,
 * `--second-offset=N`, `--size=N`, `--spool=FD`, `--partition=N`, `--most=N`, and `--limits=JSON` (narrower limits by
 * name). A side is `FD@OFFSET` joined by '+'. Written by the daemon, so errors are 'internal'.
 */
export function parseArguments(argv: readonly string[]): WorkerArguments {
  const words = argv.filter((word) => !word.startsWith('--'));
  const options = new Map(
    argv
      .filter((word) => word.startsWith('--'))
      .map((word) => {
        const at = word.indexOf('=');
        return at < 0 ? [word.slice(2), ''] : [word.slice(2, at), word.slice(at + 1)];
      }) as [string, string][],
  );
  const number = (name: string): number | undefined => {
    const text = options.get(name);
    options.delete(name);
    return text === undefined ? undefined : wholeNumber(text);
  };
  const [mode = '', ...rest] = words;
  const size = number('size');
  const spoolFd = number('spool');
  const partition = number('partition');
  const most = number('most');
  const args: WorkerArguments = {
    mode,
    format: rest[0] ?? '',
    sides: modesWithSides.has(mode) ? rest.map(parseSide) : [],
    limits: parseLimits(options.get('limits')),
    kind: options.has('layer') ? 'layer' : 'tree',
    offset: number('offset') ?? 0,
    secondOffset: number('second-offset') ?? 0,
    size: size === undefined ? {} : { size },
    spoolFd: spoolFd === undefined ? {} : { spoolFd },
    partition: partition === undefined ? {} : { partition },
    ...(most === undefined ? {} : { most }),
  };
  options.delete('limits');
  options.delete('layer');
  for (const name of options.keys()) throw wrong(`--${name}`);
  return args;
}

function parseSide(text: string): Side {
  return text.split('+').map((image) => {
    const [fd = '', offset = '0'] = image.split('@');
    return { fd: wholeNumber(fd), offset: wholeNumber(offset) };
  });
}

function parseLimits(text: string | undefined): Limits {
  const limits: Limits = { ...defaultLimits };
  if (text === undefined) return limits;
  const given = JSON.parse(text) as Record<string, unknown>;
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(limits, name) || typeof value !== 'number') throw wrong(`limit ${name}`);
    limits[name as keyof Limits] = value;
  }
  return limits;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw wrong(text);
  return value;
}

function wrong(what: string): PersonaError {
  return new PersonaError('internal', `the image worker does not understand ${what}`);
}
