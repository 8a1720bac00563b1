import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource, IsNull, Not } from 'typeorm';
import { BackupReadModel } from '../../../../projections/backups/backups.read-model.js';
import { NbdExportReadModel } from '../../../../projections/nbd-exports/nbd-exports.read-model.js';
import { poolPorts } from '../../exports/nbd-ports/model/pool-ports.reader.js';
import { NodeReadModel } from '../../../../projections/nodes/nodes.read-model.js';
import { HubConfig } from '../../hub.config.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { Projections } from '../../store/postgres/projections.js';

const BACKUP_STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled'] as const;
const PORT_STATES = ['allocated', 'occupied', 'free'] as const;

/** Steps from name to name and takes the newest of each: one index lookup per VM, however many backups it has. */
const NEWEST_COMPLETED = `
  with recursive vms (name) as (
    (select vm_name from read_models.backups where status = 'completed' order by vm_name limit 1)
    union all
    select (select vm_name from read_models.backups where status = 'completed' and vm_name > vms.name order by vm_name limit 1) from vms where vms.name is not null
  )
  select vms.name as vm, extract(epoch from (
    select completed_at from read_models.backups where status = 'completed' and vm_name = vms.name and completed_at is not null
     order by completed_at desc limit 1)) as at
    from vms where vms.name is not null`;

/** Metrics for operators' alarms, counted from the read models at each scrape. */
@Injectable()
export class DomainMetrics implements OnModuleInit {
  constructor(
    private readonly metrics: MetricsRegistry,
    private readonly dataSource: DataSource,
    private readonly projections: Projections,
    private readonly config: HubConfig,
  ) {}

  onModuleInit(): void {
    this.metrics.gauge({
      name: 'sendense_backups',
      help: 'Backups by status, without deleted ones',
      labels: ['status'],
      collect: async (gauge) => {
        const counted = await this.projections.tally('backups');
        for (const status of BACKUP_STATUSES) gauge.set({ status }, counted.get(status) ?? 0);
      },
    });
    this.metrics.gauge({
      name: 'sendense_last_completed_backup_timestamp_seconds',
      help: 'Completion time of the newest restore point of each VM, in seconds since 1970',
      labels: ['vm'],
      collect: async (gauge) => {
        gauge.reset();
        const rows: { vm: string; at: string }[] = await this.dataSource.query(NEWEST_COMPLETED);
        for (const { vm, at } of rows) gauge.set({ vm }, Number(at));
      },
    });
    this.metrics.gauge({
      name: 'sendense_damaged_restore_points',
      help: 'Restore points whose files differ from their sealed content, and those that depend on them',
      collect: async (gauge) => gauge.set(await this.dataSource.getRepository(BackupReadModel).countBy({ status: 'completed', damage: Not(IsNull()) })),
    });
    this.metrics.gauge({
      name: 'sendense_nbd_ports',
      help: 'Ports of the NBD pool by state',
      labels: ['state'],
      collect: async (gauge) => {
        const ports = await poolPorts(this.dataSource, { first: this.config.nbdPortFirst, count: this.config.nbdPortCount });
        for (const state of PORT_STATES) gauge.set({ state }, ports.filter((port) => port.state === state).length);
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
}
