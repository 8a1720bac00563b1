/** Smaller pieces than that get a buffer of that size. */
const LEAST_BYTES = 65_536;

/** Buffers that are used again and again, so that memory is bounded and the kernel does not have to clear new pages for every piece. */
export class BufferPool {
  private readonly free = new Map<number, Buffer[]>();
  /** Of all buffers, those in use included. */
  private held = 0;
  private used = 0;

  /** @param maxBytes of all buffers */
  constructor(private readonly maxBytes: number) {}

  /** @returns a buffer of at least that length, to be given back; null when there is no room until another one is */
  take(length: number): Buffer | null {
    const size = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(length)));
    // One at least, however large it is.
    if (this.used > 0 && this.used + size > this.maxBytes) return null;
    this.used += size;
    const kept = this.free.get(size)?.pop();
    if (kept !== undefined) return kept;
    this.held += size;
    this.drop();
    return Buffer.allocUnsafeSlow(size);
  }

  give(buffer: Buffer): void {
    this.used -= buffer.length;
    const kept = this.free.get(buffer.length);
    if (kept === undefined) this.free.set(buffer.length, [buffer]);
    else kept.push(buffer);
  }

  /** Buffers of sizes that are not asked for now make room. */
  private drop(): void {
    for (const buffers of this.free.values()) {
      while (this.held > this.maxBytes) {
        const dropped = buffers.pop();
        if (dropped === undefined) break;
        this.held -= dropped.length;
      }
    }
  }
}
