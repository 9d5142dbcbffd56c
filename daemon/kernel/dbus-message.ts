/** A value that a message carries, with its type in the words of the D-Bus specification. */
export type DbusValue =
  | { type: 's' | 'o'; value: string }
  | { type: 'u'; value: number }
  | { type: 't'; value: number }
  | { type: 'b'; value: boolean }
  | { type: 'au'; value: readonly number[] }
  | { type: 'as'; value: readonly string[] };

/** A call of a method. */
export interface DbusCall {
  destination: string;
  path: string;
  interface: string;
  member: string;
  /** Types of the body, one after the other. */
  signature?: string;
  body?: Buffer;
}

/** A message that came in, as far as it is looked at. */
export interface DbusMessage {
  type: 'return' | 'error' | 'signal' | 'call';
  /** The call that is answered. */
  answers?: number;
  /** Who has sent it, as the bus says: a name that nobody else can have. */
  sender?: string;
  path?: string;
  interface?: string;
  member?: string;
  /** The name of an error. */
  error?: string;
  signature: string;
  body: Buffer;
}

/** The specification allows 128 MiB; nothing that is asked here is answered by more than this. */
export const MESSAGE_BYTES_MAX = 64 * 1024;
const ANY_BYTES_MAX = 128 << 20;
const LITTLE_ENDIAN = 0x6c;
const BIG_ENDIAN = 0x42;
const FIXED_BYTES = 16;
const types = { 1: 'call', 2: 'return', 3: 'error', 4: 'signal' } as const;
/** Header fields. */
const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  error: 4,
  answers: 5,
  destination: 6,
  sender: 7,
  signature: 8,
} as const;

const pad = (at: number, to: number): number => (to - (at % to)) % to;

/** Writes values in the form of the wire, each aligned as its type wants. */
export class DbusWriter {
  #pieces: Buffer[] = [];
  #bytes = 0;

  #add(piece: Buffer): this {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return this;
  }

  align(to: number): this {
    return this.#add(Buffer.alloc(pad(this.#bytes, to)));
  }

  u32(value: number): this {
    this.align(4);
    const piece = Buffer.alloc(4);
    piece.writeUInt32LE(value);
    return this.#add(piece);
  }

  u64(value: number): this {
    this.align(8);
    const piece = Buffer.alloc(8);
    piece.writeBigUInt64LE(BigInt(value));
    return this.#add(piece);
  }

  byte(value: number): this {
    return this.#add(Buffer.from([value]));
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    return this.u32(bytes.length).#add(bytes).byte(0);
  }

  signature(value: string): this {
    return this.byte(value.length).#add(Buffer.from(value)).byte(0);
  }

  /** An array whose elements are aligned to `to`: its length counts neither itself nor the first gap. */
  array(to: number, write: (inside: DbusWriter) => void): this {
    this.u32(0);
    const length = this.#pieces.at(-1)!;
    this.align(to);
    const from = this.#bytes;
    write(this);
    length.writeUInt32LE(this.#bytes - from);
    return this;
  }

  variant({ type, value }: DbusValue): this {
    this.signature(type);
    if (type === 'u') return this.u32(value);
    if (type === 't') return this.u64(value);
    if (type === 'b') return this.u32(value ? 1 : 0);
    if (type === 's' || type === 'o') return this.text(value);
    return this.array(4, () => {
      if (type === 'au') for (const one of value) this.u32(one);
      else for (const one of value) this.text(one);
    });
  }

  /** An array of structures of a name and a variant. */
  properties(all: readonly (readonly [name: string, value: DbusValue])[]): this {
    return this.array(8, () => {
      for (const [name, value] of all) this.align(8).text(name).variant(value);
    });
  }

  bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}

/** A call as it goes over the wire. Pure. */
export function encodeCall(serial: number, call: DbusCall): Buffer {
  const { body = Buffer.alloc(0), signature } = call;
  const writer = new DbusWriter().byte(LITTLE_ENDIAN).byte(1).byte(0).byte(1);
  writer.u32(body.length).u32(serial);
  writer.array(8, () => {
    const field = (code: number, value: DbusValue) => writer.align(8).byte(code).variant(value);
    field(FIELD.path, { type: 'o', value: call.path });
    field(FIELD.interface, { type: 's', value: call.interface });
    field(FIELD.member, { type: 's', value: call.member });
    field(FIELD.destination, { type: 's', value: call.destination });
    if (signature !== undefined)
      writer.align(8).byte(FIELD.signature).signature('g').signature(signature);
  });
  return Buffer.concat([writer.align(8).bytes(), body]);
}

/** Reads values that a message carries. Throws a RangeError where it ends too early. */
export class DbusReader {
  readonly #from: Buffer;
  #at = 0;

  constructor(from: Buffer) {
    this.#from = from;
  }

  get left(): number {
    return this.#from.length - this.#at;
  }

  align(to: number): void {
    this.#at += pad(this.#at, to);
  }

  byte(): number {
    this.#at += 1;
    return this.#from.readUInt8(this.#at - 1);
  }

  u32(): number {
    this.align(4);
    this.#at += 4;
    return this.#from.readUInt32LE(this.#at - 4);
  }

  text(): string {
    return this.#string(this.u32());
  }

  signature(): string {
    return this.#string(this.byte());
  }

  #string(length: number): string {
    const end = this.#at + length;
    if (end >= this.#from.length) throw new RangeError('a text ends outside of its message');
    const text = this.#from.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }
}

/** One header field; none that is not looked at can be skipped without knowing its type. */
function readField(reader: DbusReader): [code: number, value: string | number] {
  reader.align(8);
  const code = reader.byte();
  const type = reader.signature();
  if (type === 's' || type === 'o') return [code, reader.text()];
  if (type === 'g') return [code, reader.signature()];
  if (type === 'u') return [code, reader.u32()];
  throw new RangeError(`a header field of type ${type}`);
}

function headerOf(bytes: Buffer, fieldBytes: number): Omit<DbusMessage, 'body'> {
  const fields = new DbusReader(bytes.subarray(FIXED_BYTES, FIXED_BYTES + fieldBytes));
  const known = new Map<number, string | number>();
  while (fields.left > 0) known.set(...readField(fields));
  const type = types[bytes.readUInt8(1) as keyof typeof types];
  if (type === undefined) throw new RangeError('a message of no known type');
  const text = (code: number) => {
    const value = known.get(code);
    return typeof value === 'string' ? value : undefined;
  };
  const names = Object.fromEntries(
    (['sender', 'path', 'interface', 'member', 'error'] as const).flatMap((name) => {
      const value = text(FIELD[name]);
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const answers = known.get(FIELD.answers);
  return {
    type,
    ...names,
    ...(typeof answers === 'number' && { answers }),
    signature: text(FIELD.signature) ?? '',
  };
}

/** How much the first message of what came in takes. */
export interface DbusFrame {
  bytes: number;
  /** It answers a call. Everything else may be from anybody who is on the bus. */
  isAnswer: boolean;
}

/** The frame of the first message, in whatever byte order; undefined as long as it is not there. Throws a RangeError for what is no message. Pure. */
export function frameOf(bytes: Buffer): DbusFrame | undefined {
  if (bytes.length < FIXED_BYTES) return undefined;
  const order = bytes.readUInt8(0);
  if (order !== LITTLE_ENDIAN && order !== BIG_ENDIAN) throw new RangeError('no message');
  const u32 = (at: number) =>
    order === LITTLE_ENDIAN ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  const fieldBytes = u32(12);
  const all = FIXED_BYTES + fieldBytes + pad(fieldBytes, 8) + u32(4);
  if (all > ANY_BYTES_MAX) throw new RangeError('a message larger than any');
  const type = types[bytes.readUInt8(1) as keyof typeof types];
  return { bytes: all, isAnswer: type === 'return' || type === 'error' };
}

/**
 * The first message of what came in, and how many bytes it takes; undefined as long as it is not all there. Throws a
 * RangeError for what is no message of a little-endian machine, or too large. Pure.
 */
export function decodeMessage(bytes: Buffer): { message: DbusMessage; bytes: number } | undefined {
  if (bytes.length < FIXED_BYTES) return undefined;
  if (bytes.readUInt8(0) !== LITTLE_ENDIAN) throw new RangeError('a message of another byte order');
  const bodyBytes = bytes.readUInt32LE(4);
  const fieldBytes = bytes.readUInt32LE(12);
  const bodyAt = FIXED_BYTES + fieldBytes + pad(fieldBytes, 8);
  if (bodyAt + bodyBytes > MESSAGE_BYTES_MAX) throw new RangeError('a message that is too large');
  if (bytes.length < bodyAt + bodyBytes) return undefined;
  const header = headerOf(bytes, fieldBytes);
  const body = bytes.subarray(bodyAt, bodyAt + bodyBytes);
  return { message: { ...header, body }, bytes: bodyAt + bodyBytes };
}
