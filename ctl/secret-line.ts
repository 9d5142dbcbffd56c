import { readSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { PersonaError } from '../ipc/errors.ts';
import { interrupted } from './change.ts';

/** The daemon takes no more. */
const bytesMax = 4096;
const newline = 10;
const [enter, interrupt, endOfInput, rubOut, backspace] = [13, 3, 4, 127, 8] as const;

/** Bytes of a line being typed; `end` says how it ended. */
class Line {
  readonly #bytes = Buffer.alloc(bytesMax);
  #length = 0;

  /** Takes one byte of a terminal in raw mode. True at the end of the line. */
  key(byte: number): boolean {
    if (byte === interrupt) throw interrupted();
    if (byte === enter || byte === newline || byte === endOfInput) return true;
    if (byte === rubOut || byte === backspace) this.#rubOut();
    else this.put(byte);
    return false;
  }

  put(byte: number): void {
    if (this.#length === bytesMax)
      throw new PersonaError('limit-exceeded', { what: 'the passphrase', limit: bytesMax });
    this.#bytes[this.#length++] = byte;
  }

  /** Removes one character, which may be several bytes of UTF-8. */
  #rubOut(): void {
    while (this.#length > 0) {
      this.#length -= 1;
      if (((this.#bytes[this.#length] ?? 0) & 0xc0) !== 0x80) return;
    }
  }

  /** What was typed, for the caller to wipe. */
  text(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  wipe(): void {
    this.#bytes.fill(0);
  }
}

async function typed(line: Line, prompt: string): Promise<void> {
  const input = process.stdin;
  // First: whoever types at the sight of the prompt must not be shown.
  input.setRawMode(true);
  try {
    writeSync(2, prompt);
    for await (const chunk of input.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      try {
        for (const byte of chunk) if (line.key(byte)) return;
      } finally {
        chunk.fill(0);
      }
  } finally {
    input.setRawMode(false);
    input.pause();
    writeSync(2, '\n');
  }
}

/** Byte for byte, so that nothing behind the line is taken. */
function given(line: Line): void {
  const one = Buffer.alloc(1);
  while (readSync(0, one, 0, 1, null) === 1 && one[0] !== newline) line.put(one[0] ?? 0);
  one.fill(0);
}

/** One line that nobody sees: asked for on a terminal, else the first line of the standard input. For the caller to wipe. */
export async function secretLine(prompt: string): Promise<Buffer> {
  const line = new Line();
  try {
    if (isatty(0)) await typed(line, prompt);
    else given(line);
    return line.text();
  } catch (error) {
    line.wipe();
    throw error;
  }
}
