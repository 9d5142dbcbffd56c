import { createHash } from 'node:crypto';

const PAGE = 4096;
const zeros = Buffer.alloc(PAGE);

/** The digest of a file's content, the same whether its zeros are written or holes. */
export class ContentDigest {
  readonly #hash = createHash('sha256');
  /** Where the run of pages with content ends that is being hashed. */
  #end = 0;

  /** Adds bytes that lie at `offset`, a whole number of pages, in the order of the file. */
  add(bytes: Buffer, offset: number): void {
    let from = -1;
    for (let at = 0; at < bytes.length; at += PAGE) {
      const page = bytes.subarray(at, at + PAGE);
      const empty = page.equals(page.length === PAGE ? zeros : zeros.subarray(0, page.length));
      if (empty && from !== -1) {
        this.#run(bytes.subarray(from, at), offset + from);
        from = -1;
      } else if (!empty && from === -1) from = at;
    }
    if (from !== -1) this.#run(bytes.subarray(from), offset + from);
  }

  #run(bytes: Buffer, offset: number): void {
    if (offset !== this.#end) this.#hash.update(`\n${offset}\n`);
    this.#hash.update(bytes);
    this.#end = offset + bytes.length;
  }

  /** The digest of a file of this size, as hexadecimal digits. */
  end(size: number): string {
    return this.#hash.update(`\n${size}`).digest('hex');
  }
}
