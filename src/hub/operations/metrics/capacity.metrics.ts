import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { Gauge } from 'prom-client';
import { DataSource } from 'typeorm';
import { RepositoryCapacityReadModel } from '../../../../projections/repository-capacity/repository-capacity.read-model.js';
import { RepositoryReadModel } from '../../../../projections/repositories/repositories.read-model.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';

const LEVELS = ['ok', 'warning', 'critical'] as const;

/** The space of repositories as recorded last, for operators' alarms. */
@Injectable()
export class CapacityMetrics implements OnModuleInit {
  constructor(
    private readonly metrics: MetricsRegistry,
    private readonly dataSource: DataSource,
  ) {}

  onModuleInit(): void {
    const bytes = (value: string | null): number | null => (value === null ? null : Number(value));
    this.metrics.gauge({
      name: 'sendense_repository_total_bytes',
      help: 'Size of the file system of each repository',
      labels: ['repository'],
      collect: (gauge) => this.fill(gauge, ({ total_bytes }) => bytes(total_bytes)),
    });
    this.metrics.gauge({
      name: 'sendense_repository_free_bytes',
      help: 'Space available to the hub in each repository',
      labels: ['repository'],
      collect: (gauge) => this.fill(gauge, ({ free_bytes }) => bytes(free_bytes)),
    });
    this.metrics.gauge({
      name: 'sendense_repository_level',
      help: '0 below the thresholds of the repository, 1 above the warning, 2 above the critical one',
      labels: ['repository'],
      collect: (gauge) => this.fill(gauge, ({ level }) => LEVELS.indexOf(level)),
    });
  }

  private async fill(gauge: Gauge<'repository'>, valueOf: (row: RepositoryCapacityReadModel) => number | null): Promise<void> {
    gauge.reset();
    for (const [repository, row] of await this.rows()) {
      const value = valueOf(row);
      if (value !== null) gauge.set({ repository }, value);
    }
  }

  private async rows(): Promise<readonly (readonly [string, RepositoryCapacityReadModel])[]> {
    const rows = await this.dataSource.getRepository(RepositoryCapacityReadModel).find();
    const byId = new Map(rows.map((row) => [row.repository_id, row]));
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
    return repositories.flatMap(({ repository_id, name }) => {
      const row = byId.get(repository_id);
      return row === undefined ? [] : [[name, row] as const];
    });
  }
}
