/** One stream that the tool writes to. */
export interface Sink {
  write(text: string): void;
  /** It is a terminal. */
  readonly terminal: boolean;
  /** Its width, 80 when unknown. */
  columns(): number;
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
  /** Calls back on Ctrl-C until the returned function is called. */
  onInterrupt(heard: () => void): () => void;
}

function sinkOf(stream: NodeJS.WriteStream): Sink {
  return {
    write: (text) => void stream.write(text),
    terminal: stream.isTTY === true,
    columns: () => stream.columns || 80,
  };
}

/**
 * The process itself. When the reader of our output has seen enough (`| head`), we end without a
 * complaint and without failing the pipeline.
 */
export function processIo(): Io {
  const ended = (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1);
  process.stdout.on('error', ended);
  process.stderr.on('error', ended);
  return {
    out: sinkOf(process.stdout),
    err: sinkOf(process.stderr),
    env: process.env,
    cwd: () => process.cwd(),
    uid: () => process.getuid?.() ?? -1,
    now: () => Date.now(),
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
