import { Module } from '@nestjs/common';
import { ProjectionMonitor } from './projection.monitor.js';
import { ProjectionsAdminController } from './projections-admin.controller.js';

@Module({ controllers: [ProjectionsAdminController], providers: [ProjectionMonitor] })
export class ProjectionsAdminModule {}
