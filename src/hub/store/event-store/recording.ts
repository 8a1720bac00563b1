import { AsyncLocalStorage } from 'node:async_hooks';

const recordings = new AsyncLocalStorage<Recording>();

/** Whether one request has recorded events, wherever in its handling they were appended. */
export class Recording {
  private begun: Promise<void> | null = null;
  private done = false;

  /** @param before runs once, before the first append */
  constructor(private readonly before: () => Promise<void>) {}

  /** The recording of the request that is handled here; undefined outside of one. */
  static get current(): Recording | undefined {
    return recordings.getStore();
  }

  get hasRecorded(): boolean {
    return this.done;
  }

  during<T>(work: () => T): T {
    return recordings.run(this, work);
  }

  /** @throws what `before` throws; it is tried again then */
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
