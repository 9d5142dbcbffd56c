import { fstatSync, writeSync } from 'node:fs';

/** One stream that the tool writes to. */
export interface Sink {
  write(text: string): void;
  /** It is a terminal. */
  readonly terminal: boolean;
  /** Its width, 80 when unknown. */
  columns(): number;
  /** Nothing waits for a slow reader. */
  flushed(): boolean;
}

/** What the tool touches of the process that it runs in. */
export interface Io {
  out: Sink;
  err: Sink;
  env: Readonly<Record<string, string | undefined>>;
  cwd(): string;
  uid(): number;
  /** Milliseconds since 1970. */
  now(): number;
  /** Longest wait for what a person gets only when it comes at once, in milliseconds. */
  momentMs: number;
  /** One line that nobody sees: asked for on a terminal, else the first line that comes in. */
  secretLine(prompt: string): Promise<Buffer>;
  /** Calls back on Ctrl-C until the returned function is called. */
  onInterrupt(heard: () => void): () => void;
}

/** Terminals are character devices; the module that knows more is loaded only for one. */
function isTerminal(fd: number): boolean {
  try {
    if (!fstatSync(fd).isCharacterDevice()) return false;
  } catch {
    // Closed by whoever started us.
    return false;
  }
  return process.getBuiltinModule('node:tty').isatty(fd);
}

/** What we write cannot be written. */
function lost(fd: 1 | 2, error: NodeJS.ErrnoException): void {
  // Nobody reads our remarks: the work and its status are the same.
  if (fd === 2) return;
  // The reader of our output has seen enough (`| head`): no complaint, and no failure of the pipeline.
  if (error.code === 'EPIPE') process.exit(0);
  try {
    writeSync(2, `personactl: cannot write the output: ${error.message}\n`);
  } catch {
    // Nobody reads that either.
  }
  process.exit(1);
}

/**
 * One of our streams. A terminal needs the stream of Node, for its width; the rest is written directly,
 * which saves the making of a stream at every start.
 */
function sinkOf(fd: 1 | 2): Sink {
  let stream: NodeJS.WriteStream | undefined;
  const open = () => {
    stream ??= (fd === 1 ? process.stdout : process.stderr).on('error', (error) => lost(fd, error));
    return stream;
  };
  const terminal = isTerminal(fd);
  return {
    terminal,
    columns: () => (terminal && open().columns) || 80,
    flushed: () => !stream || stream.writableLength === 0,
    write(text) {
      if (terminal || stream) return void open().write(text);
      let rest: Uint8Array = Buffer.from(text);
      try {
        while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest));
      } catch (error) {
        // A full pipe that does not block: the stream of Node waits for its reader.
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') open().write(rest);
        else lost(fd, error as NodeJS.ErrnoException);
      }
    },
  };
}

/** The process itself. */
export function processIo(): Io {
  return {
    out: sinkOf(1),
    err: sinkOf(2),
    env: process.env,
    cwd: () => process.cwd(),
    uid: () => process.getuid?.() ?? -1,
    now: () => Date.now(),
    momentMs: 700,
    secretLine: async (prompt) => (await import('./secret-line.ts')).secretLine(prompt),
    onInterrupt(heard) {
      process.on('SIGINT', heard);
      return () => void process.off('SIGINT', heard);
    },
  };
}

/** True when the locale can show more than ASCII. */
export function isUnicode(env: Io['env']): boolean {
  return /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '');
}
