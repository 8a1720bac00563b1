import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import type { FileCalls } from '../../../storage/storage-worker/file-calls.js';
import { WorkerClosedError, StorageWorker, storageSilent } from '../../../storage/storage-worker/storage-worker.js';

/** How often whileTheyAnswer checks whether the file systems answer. */
const LOOK_MS = 2_000;

/** The hub's access to file systems that may hang: those of repositories and of restore targets. One storage worker for each place, created on first use. */
@Injectable()
export class StorageWorkers implements OnApplicationShutdown {
  private readonly log = loggerFor('StorageWorkers');
  private readonly workers = new Map<string, StorageWorker>();
  private closed = false;

  constructor(private readonly config: HubConfig) {}

  /** @param place folder on which the file system is probed */
  at(place: string): FileCalls {
    return this.workerOf(place).calls;
  }

  /** How long the file system has not answered, in milliseconds; 0 if no silence is known. Starts a probe and does not wait for it. */
  silentMs(place: string): number {
    return this.workerOf(place).silentMs();
  }

  /**
   * Runs work by other programs on files at these places. Abandons the work when one of the places has been silent for `fail_after_silent_seconds`.
   * @param work its signal is aborted when it is abandoned; it is not awaited then, because it may hang in the kernel
   * @throws the error of storageSilent; WorkerClosedError; errors of the work
   */
  async whileTheyAnswer<Result>(places: readonly string[], work: (signal: AbortSignal) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const giveUp = new AbortController();
    const given = new Promise<never>((_, reject) => {
      giveUp.signal.addEventListener('abort', () => reject(giveUp.signal.reason as Error)); // set below
    });
    const look = setInterval(() => {
      for (const place of places) {
        const silentMs = this.silentMs(place);
        if (silentMs >= this.config.failAfterSilentSeconds * 1000) giveUp.abort(storageSilent(place));
        else if (this.closed && silentMs > 0) giveUp.abort(new WorkerClosedError(place));
      }
    }, LOOK_MS);
    const doing = work(signal === undefined ? giveUp.signal : AbortSignal.any([signal, giveUp.signal]));
    // After the work is abandoned, nobody awaits its promise.
    doing.catch(() => undefined);
    try {
      return await Promise.race([doing, given]);
    } finally {
      clearInterval(look);
    }
  }

  /** Stops waiting for hanging calls. Pending and later calls fail with WorkerClosedError at places that do not answer within the grace period. */
  hurry(graceMs: number): void {
    setTimeout(() => this.closeAll(), graceMs).unref();
  }

  onApplicationShutdown(): void {
    this.closeAll();
  }

  private closeAll(): void {
    this.closed = true;
    for (const worker of this.workers.values()) worker.close();
  }

  private workerOf(place: string): StorageWorker {
    let worker = this.workers.get(place);
    if (worker === undefined) {
      worker = new StorageWorker(place, () => this.config.storageAnswerSeconds * 1000, this.log);
      this.workers.set(place, worker);
      if (this.closed) worker.close();
    }
    return worker;
  }
}
