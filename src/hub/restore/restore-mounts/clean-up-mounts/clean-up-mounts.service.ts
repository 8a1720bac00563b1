import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { messageOf } from '../../../../kernel/error-message.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { repeat, type Repetition } from '../../../../lib/process/repeat.js';
import { MountRunner } from '../model/mount.runner.js';
import type { CleanupRunDto, CleanupStatusDto } from './cleanup-status.dto.js';

/** Removes expired, broken and orphaned mounts at fixed intervals. */
@Injectable()
export class CleanUpMountsService implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('CleanUpMounts');
  private repetition: Repetition | null = null;
  private running = false;
  private totalRuns = 0;
  private lastRun: CleanupRunDto | null = null;
  private nextRunAt: Date;

  constructor(
    private readonly mounts: MountRunner,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {
    this.nextRunAt = this.afterInterval();
  }

  onApplicationBootstrap(): void {
    this.nextRunAt = this.afterInterval();
    this.repetition = repeat(
      () => this.config.mountCleanupIntervalSeconds * 1000,
      () => void this.run(),
    );
  }

  onApplicationShutdown(): void {
    this.repetition?.stop();
  }

  status(): CleanupStatusDto {
    return {
      interval_seconds: this.config.mountCleanupIntervalSeconds,
      idle_limit_seconds: this.config.mountIdleSeconds,
      running: this.running,
      total_runs: this.totalRuns,
      last_run: this.lastRun,
      next_run_at: this.nextRunAt.toISOString(),
    };
  }

  private async run(): Promise<void> {
    this.nextRunAt = this.afterInterval();
    // Runs never overlap, even if one hangs on a mount.
    if (this.running) return;
    this.running = true;
    const startedAt = this.clock.iso();
    try {
      const report = await this.mounts.sweep();
      this.lastRun = { started_at: startedAt, ended_at: this.clock.iso(), ...report };
      if (report.failures.length > 0) this.log.warn('mounts could not be removed, the next cleanup retries', { failures: report.failures });
    } catch (error) {
      const failure = messageOf(error);
      this.lastRun = { started_at: startedAt, ended_at: this.clock.iso(), mounts_checked: 0, expired: 0, broken: 0, orphans: 0, failures: [failure] };
      this.log.warn('mount cleanup failed', { error });
    } finally {
      this.totalRuns += 1;
      this.running = false;
    }
  }

  private afterInterval(): Date {
    return new Date(this.clock.now().getTime() + this.config.mountCleanupIntervalSeconds * 1000);
  }
}
