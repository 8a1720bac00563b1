import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { retry } from '../../../../lib/concurrency/retry.js';
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
    const onFailure = (error: unknown): void => this.log.warn('mounts of an earlier run could not be reconciled, retrying', { error });
    // Rejects only at shutdown.
    retry(() => this.mounts.adopt(), { signal: this.shutdown.signal, firstMs: RETRY_MS, onFailure }).catch(() => undefined);
  }

  onApplicationShutdown(): void {
    this.shutdown.abort();
  }
}
