import { Module } from '@nestjs/common';
import { LeaseMetrics } from './lease.metrics.js';
import { ShowRoleController } from './show-role/show-role.controller.js';

/** Role and term of the active hub. Requires HubLease from a global module, and MetricsModule. */
@Module({ controllers: [ShowRoleController], providers: [LeaseMetrics] })
export class StandbyModule {}
