import { AsyncLocalStorage } from 'node:async_hooks';

const recordings = new AsyncLocalStorage<Recording>();

/** Tracks whether a request has appended events anywhere in its handling. */
export class Recording {
  private begun: Promise<void> | null = null;
  private done = false;

  /** @param before runs once, before the first append */
  constructor(private readonly before: () => Promise<void>) {}

  /** The recording of the current request; undefined outside of a request. */
  static get current(): Recording | undefined {
    return recordings.getStore();
  }

  get hasRecorded(): boolean {
    return this.done;
  }

  during<T>(work: () => T): T {
    return recordings.run(this, work);
  }

  /** @throws errors of `before`, which then runs again next time */
  async begin(): Promise<void> {
    this.begun ??= recordings.exit(this.before).catch((error: unknown) => {
      this.begun = null;
      throw error;
    });
    await this.begun;
  }

  appended(): void {
    this.done = true;
  }
}
