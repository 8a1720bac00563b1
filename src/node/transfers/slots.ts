/** Limits how many tasks run at once, in the order of their requests. */
export class Slots {
  private used = 0;
  private readonly waiting: (() => void)[] = [];

  /** @param limit queried whenever a task arrives or ends, and by admit(); running tasks finish even if it has shrunk */
  constructor(private readonly limit: () => number) {}

  async use<Result>(work: () => Promise<Result>): Promise<Result> {
    // The task that frees a slot passes it on directly, so that no later one can take it.
    const turn = new Promise<void>((resolve) => this.waiting.push(resolve));
    this.admit();
    await turn;
    try {
      return await work();
    } finally {
      this.used -= 1;
      this.admit();
    }
  }

  /** Starts waiting tasks after the limit has grown. */
  admit(): void {
    while (this.waiting.length > 0 && this.used < this.limit()) {
      this.used += 1;
      this.waiting.shift()?.();
    }
  }
}
