import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { MountRunner } from '../model/mount.runner.js';

const RETRY_MS = 500;

/** Reconciles every mount left by an earlier run when the hub starts. After that, the cleanup maintains them. */
@Injectable()
export class AdoptMountsService implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('AdoptMountsService');
  private readonly shutdown = new AbortController();

  constructor(private readonly mounts: MountRunner) {}

  /** Does not block the start: the read models it waits for may start later. */
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
        this.log.warn('mounts of an earlier run could not be reconciled, retrying', { error });
        await pause(RETRY_MS, undefined, { signal: this.shutdown.signal }).catch(() => undefined);
      }
    }
  }
}
