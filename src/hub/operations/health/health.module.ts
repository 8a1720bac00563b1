import { Module } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { StorageHealth } from './storage.health-checks.js';

/** Liveness and readiness. Requires DataSource and EventStore from global modules; contexts add their own checks to HealthChecks. */
@Module({ controllers: [HealthController], providers: [StorageHealth] })
export class HealthModule {}
