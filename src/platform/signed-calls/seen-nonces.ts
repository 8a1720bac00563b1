/** Nonces of late, so that a call that somebody has listened to cannot be made again. */
export class SeenNonces {
  private current = new Set<string>();
  private previous = new Set<string>();
  private turnedAtMs = 0;

  /** @param keepMs each nonce is remembered at least so long */
  constructor(private readonly keepMs: number) {}

  /** False when this nonce was seen before. */
  isNew(nonce: string, nowMs: number): boolean {
    if (Math.abs(nowMs - this.turnedAtMs) >= this.keepMs) {
      this.previous = this.current;
      this.current = new Set();
      this.turnedAtMs = nowMs;
    }
    if (this.current.has(nonce) || this.previous.has(nonce)) return false;
    this.current.add(nonce);
    return true;
  }
}
