import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Between, DataSource } from 'typeorm';
import { BackupReadModel } from '../../projections/backups/backups.read-model.js';
import { NbdExportReadModel } from '../../projections/nbd-exports/nbd-exports.read-model.js';
import { NbdPortReadModel } from '../../projections/nbd-ports/nbd-ports.read-model.js';
import { NodeReadModel } from '../../projections/nodes/nodes.read-model.js';
import { HubConfig } from '../platform/config/hub.config.js';
import { MetricsRegistry } from '../platform/http/metrics-registry.js';

const BACKUP_STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled'] as const;

/** What an operator sets alarms on, counted from the read models at each scrape. */
@Injectable()
export class DomainMetrics implements OnModuleInit {
  constructor(
    private readonly metrics: MetricsRegistry,
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
  ) {}

  onModuleInit(): void {
    this.metrics.gauge({
      name: 'sendense_backups',
      help: 'Backups by status, deleted ones left out',
      labels: ['status'],
      collect: async (gauge) => {
        const counted = await this.countBy(BackupReadModel, 'status');
        for (const status of BACKUP_STATUSES) gauge.set({ status }, counted.get(status) ?? 0);
      },
    });
    this.metrics.gauge({
      name: 'sendense_last_completed_backup_timestamp_seconds',
      help: 'When the newest restore point of each VM was completed, seconds since 1970',
      labels: ['vm'],
      collect: async (gauge) => {
        gauge.reset();
        const rows = await this.dataSource
          .getRepository(BackupReadModel)
          .createQueryBuilder('backup')
          .select('backup.vm_name', 'vm')
          .addSelect('extract(epoch from max(backup.completed_at))', 'at')
          .where("backup.status = 'completed'")
          .groupBy('backup.vm_name')
          .getRawMany<{ vm: string; at: string }>();
        for (const { vm, at } of rows) gauge.set({ vm }, Number(at));
      },
    });
    this.metrics.gauge({
      name: 'sendense_nbd_ports',
      help: 'Ports of the NBD pool by state',
      labels: ['state'],
      collect: async (gauge) => {
        const counted = await this.countBy(NbdPortReadModel, 'state');
        const allocated = counted.get('allocated') ?? 0;
        const occupied = counted.get('occupied') ?? 0;
        gauge.set({ state: 'allocated' }, allocated);
        gauge.set({ state: 'occupied' }, occupied);
        // A pool that was made smaller may leave ports of running jobs outside it.
        const { nbdPortFirst: first, nbdPortCount: count } = this.config;
        const taken = await this.dataSource.getRepository(NbdPortReadModel).countBy({ port: Between(first, first + count - 1) });
        gauge.set({ state: 'free' }, count - taken);
      },
    });
    this.metrics.gauge({
      name: 'sendense_nbd_exports_running',
      help: 'qemu-nbd processes that serve a disk',
      collect: async (gauge) => gauge.set(await this.dataSource.getRepository(NbdExportReadModel).countBy({ state: 'running' })),
    });
    this.metrics.gauge({
      name: 'sendense_node_reachable',
      help: '1 while the node answers',
      labels: ['node'],
      collect: async (gauge) => {
        gauge.reset();
        for (const { name, state } of await this.dataSource.getRepository(NodeReadModel).find()) gauge.set({ node: name }, state === 'reachable' ? 1 : 0);
      },
    });
  }

  private async countBy(entity: typeof BackupReadModel | typeof NbdPortReadModel, column: 'status' | 'state'): Promise<ReadonlyMap<string, number>> {
    const rows = await this.dataSource
      .createQueryBuilder(entity, 'row')
      .select(`row.${column}`, 'value')
      .addSelect('count(*)', 'count')
      .groupBy(`row.${column}`)
      .getRawMany<{ value: string; count: string }>();
    return new Map(rows.map(({ value, count }) => [value, Number(count)]));
  }
}
