import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../../lib/clock/clock.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { ProtectionReader } from '../../backup/policies/model/protection.reader.js';

const STATUSES = ['kept', 'broken', 'no_rpo', 'without_policy'] as const;

type Look = ReturnType<ProtectionReader['look']>;

/** How VMs are protected, for operators' alarms. */
@Injectable()
export class ProtectionMetrics implements OnModuleInit {
  private looking: Look | null = null;

  constructor(
    private readonly metrics: MetricsRegistry,
    private readonly protection: ProtectionReader,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.metrics.gauge({
      name: 'sendense_newest_restore_point_age_seconds',
      help: 'Age of the newest good restore point of each VM; no value: there is none',
      labels: ['vm'],
      collect: async (gauge) => {
        for (const { vm, age_seconds } of (await this.lookOnce()).protections) if (age_seconds !== null) gauge.set({ vm: vm.name }, age_seconds);
      },
    });
    this.metrics.gauge({
      name: 'sendense_vms',
      help: 'Registered VMs: with an RPO that is kept or broken, with policies without an RPO, or without a policy',
      labels: ['rpo'],
      collect: async (gauge) => {
        const { protections } = await this.lookOnce();
        for (const rpo of STATUSES) gauge.set({ rpo }, protections.filter(({ status }) => status === rpo).length);
      },
    });
  }

  /** A scrape measures all gauges at once, and one look serves them all. */
  private lookOnce(): Look {
    return (this.looking ??= this.protection.look(this.clock.iso()).finally(() => (this.looking = null)));
  }
}
