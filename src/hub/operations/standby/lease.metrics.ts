import { Injectable, type OnModuleInit } from '@nestjs/common';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { HubConfig } from '../../hub.config.js';
import { HubLease } from '../../store/postgres/hub-lease.js';
import { type HubRoleDto, hubRoleOf } from '../http/hub-role.dto.js';

@Injectable()
export class LeaseMetrics implements OnModuleInit {
  constructor(
    private readonly metrics: MetricsRegistry,
    private readonly lease: HubLease,
    private readonly config: HubConfig,
  ) {}

  onModuleInit(): void {
    registerLeaseMetrics(this.metrics, async () => hubRoleOf('active', await this.lease.view(), this.config.eventStore));
  }
}

interface LeaseMetric {
  readonly name: string;
  readonly help: string;
  /** null: unknown. */
  readonly valueOf: (role: HubRoleDto) => number | null;
}

const METRICS: readonly LeaseMetric[] = [
  { name: 'sendense_hub_active', help: '1 at the active hub, 0 at a standby', valueOf: ({ role }) => (role === 'active' ? 1 : 0) },
  { name: 'sendense_hub_term', help: 'Grows with each start of an active hub and each takeover', valueOf: ({ term }) => term },
  {
    name: 'sendense_hub_term_start_timestamp_seconds',
    help: 'When the term began, in seconds since 1970',
    valueOf: ({ since }) => (since === null ? null : Date.parse(since) / 1000),
  },
  {
    name: 'sendense_hub_lease_age_seconds',
    help: 'Time since the active hub renewed its lease',
    valueOf: ({ renewed_seconds_ago: age }) => age,
  },
  {
    name: 'sendense_hub_standby_ready',
    help: '1 while a standby waits that could take over',
    valueOf: ({ standby }) => (standby?.problems.length === 0 ? 1 : 0),
  },
];

/** Role, term and standby, for the active hub and for one that waits. */
export function registerLeaseMetrics(metrics: MetricsRegistry, look: () => Promise<HubRoleDto>): void {
  let looking: Promise<HubRoleDto> | null = null;
  // A scrape measures all gauges at once, and one look at the lease serves them all.
  const lookOnce = (): Promise<HubRoleDto> => (looking ??= look().finally(() => (looking = null)));
  for (const { name, help, valueOf } of METRICS) {
    metrics.gauge({
      name,
      help,
      collect: async (gauge) => {
        const value = valueOf(await lookOnce());
        if (value === null) gauge.remove();
        else gauge.set(value);
      },
    });
  }
}
