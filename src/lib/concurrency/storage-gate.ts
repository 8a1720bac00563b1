export interface StorageGateOptions {
  /** The error of every access while the file system does not answer. */
  readonly silence: () => Error;
  readonly onSilent: () => void;
  /** Every abandoned access has returned. */
  readonly onAnswer: () => void;
}

/**
 * Accesses to one file system that may hang. Once it is found silent, all accesses under way are abandoned and new ones are refused, until every abandoned one
 * has returned: each hanging access holds a thread, and the file system answers when they return.
 */
export class StorageGate {
  private readonly waiting = new Set<(error: Error) => void>();
  private hanging = 0;
  private silentSinceMs = 0;

  constructor(private readonly options: StorageGateOptions) {}

  /** Milliseconds since the file system stopped answering; 0 when nothing indicates that. */
  get silentMs(): number {
    return this.hanging === 0 ? 0 : Math.max(1, performance.now() - this.silentSinceMs);
  }

  /** Accesses under way, without abandoned ones. */
  get accesses(): number {
    return this.waiting.size;
  }

  /** @throws the error of `silence` or of `abandon`; any error of `access` */
  async use<Result>(access: () => Promise<Result>): Promise<Result> {
    if (this.hanging > 0) throw this.options.silence();
    const doing = access();
    const abandoned = Promise.withResolvers<never>();
    const abandon = (error: Error): void => {
      this.hanging += 1;
      const returned = (): void => {
        this.hanging -= 1;
        if (this.hanging === 0) this.options.onAnswer();
      };
      doing.then(returned, returned);
      abandoned.reject(error);
    };
    this.waiting.add(abandon);
    try {
      return await Promise.race([doing, abandoned.promise]);
    } finally {
      this.waiting.delete(abandon);
    }
  }

  /** The file system has not answered for `waitedMs`. */
  foundSilent(waitedMs: number): void {
    if (this.waiting.size === 0) return;
    this.options.onSilent();
    this.abandon(waitedMs, this.options.silence);
  }

  /** Abandons all accesses with this error. */
  abandon(waitedMs: number, error: () => Error): void {
    this.silentSinceMs = performance.now() - waitedMs;
    for (const abandon of this.waiting) abandon(error());
    this.waiting.clear();
  }
}
