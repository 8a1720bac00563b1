import { Module } from '@nestjs/common';
import { DomainMetrics } from './domain.metrics.js';
import { NodesHealth } from './nodes.health-checks.js';

/** What the contexts are watched by. Needs the read models' DataSource beside MetricsModule and HealthModule. */
@Module({ providers: [DomainMetrics, NodesHealth] })
export class DomainMetricsModule {}
