import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { MountRunner } from './run-mount.runner.js';

const RETRY_MS = 500;

/** At the start of the hub: takes up every mount that an earlier hub left, as it stands on the machine. From then on the cleanup looks after them. */
@Injectable()
export class AdoptMountsReactor implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('AdoptMountsReactor');
  private readonly shutdown = new AbortController();

  constructor(private readonly mounts: MountRunner) {}

  /** Does not hold up the start: the read models it waits for may start after it. */
  onApplicationBootstrap(): void {
    void this.adopt();
  }

  onApplicationShutdown(): void {
    this.shutdown.abort();
  }

  private async adopt(): Promise<void> {
    while (!this.shutdown.signal.aborted) {
      try {
        await this.mounts.adopt();
        return;
      } catch (error) {
        this.log.warn('mounts of an earlier run of the hub could not be taken up yet', { error });
        await pause(RETRY_MS, undefined, { signal: this.shutdown.signal }).catch(() => undefined);
      }
    }
  }
}
