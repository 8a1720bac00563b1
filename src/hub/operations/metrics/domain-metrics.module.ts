import { Module } from '@nestjs/common';
import { PolicyQueriesModule } from '../../backup/policies/policy-queries.module.js';
import { CapacityMetrics } from './capacity.metrics.js';
import { DomainMetrics } from './domain.metrics.js';
import { NodesHealth } from './nodes.health-checks.js';
import { ProtectionMetrics } from './protection.metrics.js';

/** Metrics and health checks of the contexts. Requires the read models' DataSource, MetricsModule and HealthModule. */
@Module({ imports: [PolicyQueriesModule], providers: [CapacityMetrics, DomainMetrics, NodesHealth, ProtectionMetrics] })
export class DomainMetricsModule {}
