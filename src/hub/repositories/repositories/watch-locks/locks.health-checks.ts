import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';
import { MetricsRegistry } from '../../../../lib/http/metrics-registry.js';
import { LockSummaries } from '../model/lock-summaries.registry.js';
import type { LockSummary } from '../model/lock-summary.plan.js';

/** Reports repositories whose keeper is late, for health checks and alarms. The hub stays ready. */
@Injectable()
export class LocksHealth implements OnModuleInit {
  constructor(
    private readonly checks: HealthChecks,
    private readonly metrics: MetricsRegistry,
    private readonly dataSource: DataSource,
    private readonly locks: LockSummaries,
  ) {}

  onModuleInit(): void {
    this.checks.register({ name: 'repository_locks', required: false, check: () => this.check() });
    this.metrics.gauge({
      name: 'sendense_repository_locked_restore_points',
      help: 'Restore points and copies that are locked, by the level that was read back',
      labels: ['repository', 'level'],
      collect: async (gauge) => {
        gauge.reset();
        for (const [repository, { locked, enforced }] of await this.summaries()) {
          gauge.set({ repository, level: 'enforced' }, enforced);
          gauge.set({ repository, level: 'advisory' }, locked - enforced);
        }
      },
    });
    this.metrics.gauge({
      name: 'sendense_repository_lock_unconfirmed_seconds',
      help: 'How long the oldest restore point that its keeper should have locked waits for that; 0: none',
      labels: ['repository'],
      collect: async (gauge) => {
        gauge.reset();
        for (const [repository, { unconfirmed_seconds }] of await this.summaries()) gauge.set({ repository }, unconfirmed_seconds);
      },
    });
  }

  private async summaries(): Promise<readonly (readonly [string, LockSummary])[]> {
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
    return repositories.flatMap(({ repository_id, name }) => {
      const summary = this.locks.of(repository_id);
      return summary === null ? [] : [[name, summary] as const];
    });
  }

  private async check(): Promise<void> {
    const all = await this.summaries();
    const late = all.filter(([, { keeper_late }]) => keeper_late).length;
    if (late === 0) return;
    // This answer is public and therefore contains no names.
    const message = `The keepers of ${late} of ${all.length} repositories have not locked all restore points; see GET /repositories/{id}.`;
    throw new DomainError('unavailable', 'keeper_late', message);
  }
}
