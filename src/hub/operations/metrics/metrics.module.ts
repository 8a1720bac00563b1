import { Module } from '@nestjs/common';
import { MetricsController } from './metrics.controller.js';

/** Serves all metrics registered with MetricsRegistry. */
@Module({ controllers: [MetricsController] })
export class MetricsModule {}
