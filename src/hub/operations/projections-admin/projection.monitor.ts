import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '../../../kernel/domain-error.js';
import { HealthChecks } from '../../../lib/http/health-checks.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { Projections } from '../../store/postgres/projections.js';

const LAG_BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Health check and metrics of the projections. A hub with a halted projection answers queries with old data, so it is not ready. */
@Injectable()
export class ProjectionMonitor implements OnApplicationBootstrap, OnModuleDestroy {
  private unsubscribe: () => void = () => undefined;

  constructor(
    private readonly projections: Projections,
    private readonly health: HealthChecks,
    private readonly metrics: MetricsRegistry,
  ) {}

  onApplicationBootstrap(): void {
    this.health.register({
      name: 'projections',
      required: true,
      check: () => {
        const names = this.projections.halted().map(({ name }) => name);
        if (names.length === 0) return Promise.resolve();
        return Promise.reject(
          new DomainError('unavailable', 'projection_halted', `Halted: ${names.join(', ')}; see GET /projections.`, { projections: names }),
        );
      },
    });
    this.metrics.gauge({
      name: 'sendense_projection_lag_seconds',
      help: 'Seconds since the rows were last at the newest event; 0 while they are',
      labels: ['projection'],
      collect: async (gauge) => {
        for (const { name, lagSeconds } of await this.projections.statuses()) gauge.set({ projection: name }, lagSeconds);
      },
    });
    this.metrics.gauge({
      name: 'sendense_projection_halted',
      help: '1 while the projection is halted at an event it cannot fold',
      labels: ['projection'],
      collect: async (gauge) => {
        for (const { name, halted } of await this.projections.statuses()) gauge.set({ projection: name }, halted === null ? 0 : 1);
      },
    });
    const events = this.metrics.counter({ name: 'sendense_projection_events_total', help: 'Events folded', labels: ['projection'] });
    const delay = this.metrics.histogram(
      { name: 'sendense_projection_delay_seconds', help: "From the recording of a batch's oldest event to the commit of its rows", labels: ['projection'] },
      LAG_BUCKETS_SECONDS,
    );
    this.unsubscribe = this.projections.onBatch((batch) => {
      events.inc({ projection: batch.projection }, batch.events);
      delay.observe({ projection: batch.projection }, batch.lagMs / 1000);
    });
  }

  onModuleDestroy(): void {
    this.unsubscribe();
  }
}
