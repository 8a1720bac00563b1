/** Minimum size of a buffer. */
const LEAST_BYTES = 65_536;

/** Reuses buffers, so that memory is bounded and the kernel does not have to clear new pages for every piece. */
export class BufferPool {
  private readonly free = new Map<number, Buffer[]>();
  /** Bytes of all buffers, including those in use. */
  private held = 0;
  private used = 0;

  /** @param maxBytes limit for all buffers together */
  constructor(private readonly maxBytes: number) {}

  /** @returns a buffer of at least that length, which the caller gives back; null if there is no room until another one is given back */
  take(length: number): Buffer | null {
    const size = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(length)));
    // One buffer is always granted, whatever its size.
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

  /** Makes room by dropping buffers of sizes that are not in demand. */
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
