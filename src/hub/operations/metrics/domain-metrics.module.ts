import { Module } from '@nestjs/common';
import { DomainMetrics } from './domain.metrics.js';
import { NodesHealth } from './nodes.health-checks.js';

/** Metrics and health checks of the contexts. Requires the read models' DataSource, MetricsModule and HealthModule. */
@Module({ providers: [DomainMetrics, NodesHealth] })
export class DomainMetricsModule {}
