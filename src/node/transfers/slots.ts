/** At most so many pieces of work at once, in the order in which they asked. */
export class Slots {
  private used = 0;
  private readonly waiting: (() => void)[] = [];

  /** @param limit is asked for whenever work comes or goes, and by admit(); what is at work when it shrinks is let finish */
  constructor(private readonly limit: () => number) {}

  async use<Result>(work: () => Promise<Result>): Promise<Result> {
    // A slot is taken by whoever gives it away, so that nobody who asks later can take it.
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

  /** Lets in who has a place now, after the limit has grown. */
  admit(): void {
    while (this.waiting.length > 0 && this.used < this.limit()) {
      this.used += 1;
      this.waiting.shift()?.();
    }
  }
}
