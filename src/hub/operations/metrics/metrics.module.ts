import { Module } from '@nestjs/common';
import { MetricsController } from './metrics.controller.js';

/** Serves what everyone has registered with MetricsRegistry. */
@Module({ controllers: [MetricsController] })
export class MetricsModule {}
