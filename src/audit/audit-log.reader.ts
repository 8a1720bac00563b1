import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { AuditEventReadModel } from '../../projections/audit-events/audit-events.read-model.js';

export interface AuditFilter {
  readonly stream?: string | undefined;
  readonly category?: string | undefined;
  readonly type?: string | undefined;
  readonly actor?: string | undefined;
  readonly correlation_id?: string | undefined;
  /** ISO 8601; inclusive. */
  readonly since?: string | undefined;
  /** ISO 8601; exclusive. */
  readonly until?: string | undefined;
  readonly order: 'newest_first' | 'oldest_first';
}

/** Events in one read of an export. */
const EXPORT_BATCH = 500;

/** The log of all events as it can be searched. */
@Injectable()
export class AuditLog {
  constructor(private readonly dataSource: DataSource) {}

  /** @param beyond position of the last event of the page before; null for the first page */
  async find(filter: AuditFilter, beyond: string | null, limit: number): Promise<AuditEventReadModel[]> {
    const newestFirst = filter.order === 'newest_first';
    const select = this.dataSource
      .getRepository(AuditEventReadModel)
      .createQueryBuilder('e')
      .orderBy('e.log_position', newestFirst ? 'DESC' : 'ASC')
      .take(limit);
    if (filter.stream !== undefined) select.andWhere('e.stream = :stream', { stream: filter.stream });
    if (filter.category !== undefined) select.andWhere('e.category = :category', { category: filter.category });
    if (filter.type !== undefined) select.andWhere('e.type = :type', { type: filter.type });
    if (filter.actor !== undefined) select.andWhere('e.actor = :actor', { actor: filter.actor });
    if (filter.correlation_id !== undefined) select.andWhere('e.correlation_id = :correlation_id', { correlation_id: filter.correlation_id });
    if (filter.since !== undefined) select.andWhere('e.time >= :since', { since: new Date(filter.since) });
    if (filter.until !== undefined) select.andWhere('e.time < :until', { until: new Date(filter.until) });
    if (beyond !== null) select.andWhere(newestFirst ? 'e.log_position < :beyond' : 'e.log_position > :beyond', { beyond });
    return select.getMany();
  }

  /** Every event that matches, read in batches so that neither memory nor a long transaction grows with the log. */
  async *export(filter: AuditFilter): AsyncGenerator<AuditEventReadModel, void, undefined> {
    for (let beyond: string | null = null; ;) {
      const batch: AuditEventReadModel[] = await this.find(filter, beyond, EXPORT_BATCH);
      yield* batch;
      const last = batch.at(-1);
      if (last === undefined || batch.length < EXPORT_BATCH) return;
      beyond = last.log_position;
    }
  }
}
