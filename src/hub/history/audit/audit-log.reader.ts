import { Injectable } from '@nestjs/common';
import { DataSource, type SelectQueryBuilder } from 'typeorm';
import { AuditEventReadModel } from '../../../../projections/audit-events/audit-events.read-model.js';

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

/** End of a page of the log, as the sort key of its last event. */
export type LogPlace = { readonly position: string } | { readonly time: string; readonly position: string } | { readonly revision: number };

/** Number of events per read of an export. */
const EXPORT_BATCH = 500;

/** Searches the log of all events. */
@Injectable()
export class AuditLog {
  constructor(private readonly dataSource: DataSource) {}

  /** @param beyond the last event of the previous page; null for the first page */
  async find(filter: AuditFilter, beyond: LogPlace | null, limit: number): Promise<AuditEventReadModel[]> {
    return searchLog(this.dataSource, filter, beyond, limit).getMany();
  }

  /** Yields all matching events, in batches, so that neither memory use nor a transaction grows with the log. */
  async *export(filter: AuditFilter): AsyncGenerator<AuditEventReadModel, void, undefined> {
    for (let beyond: LogPlace | null = null; ;) {
      const batch: AuditEventReadModel[] = await this.find(filter, beyond, EXPORT_BATCH);
      yield* batch;
      const last = batch.at(-1);
      if (last === undefined || batch.length < EXPORT_BATCH) return;
      beyond = placeOf(filter, last);
    }
  }
}

/**
 * Sort key of the events. A search by time is sorted by time, so that an index finds old events without a scan. Within a stream, revisions and
 * positions have the same order, and the index of a stream is on revisions.
 */
export type LogOrder = 'time' | 'revision' | 'position';

export function logOrder({ since, until, stream }: AuditFilter): LogOrder {
  if (since !== undefined || until !== undefined) return 'time';
  return stream === undefined ? 'position' : 'revision';
}

export function placeOf(filter: AuditFilter, { log_position: position, time, revision }: AuditEventReadModel): LogPlace {
  switch (logOrder(filter)) {
    case 'time':
      return { time: time.toISOString(), position };
    case 'revision':
      return { revision: Number(revision) };
    case 'position':
      return { position };
  }
}

export function searchLog(dataSource: DataSource, filter: AuditFilter, beyond: LogPlace | null, limit: number): SelectQueryBuilder<AuditEventReadModel> {
  const columns = { time: ['time', 'log_position'], revision: ['revision'], position: ['log_position'] }[logOrder(filter)].map((column) => `e.${column}`);
  const [direction, comparison] = filter.order === 'newest_first' ? (['DESC', '<'] as const) : (['ASC', '>'] as const);
  const select = dataSource.getRepository(AuditEventReadModel).createQueryBuilder('e').limit(limit);
  for (const column of columns) select.addOrderBy(column, direction);
  if (filter.stream !== undefined) select.andWhere('e.stream = :stream', { stream: filter.stream });
  if (filter.category !== undefined) select.andWhere('e.category = :category', { category: filter.category });
  if (filter.type !== undefined) select.andWhere('e.type = :type', { type: filter.type });
  if (filter.actor !== undefined) select.andWhere('e.actor = :actor', { actor: filter.actor });
  if (filter.correlation_id !== undefined) select.andWhere('e.correlation_id = :correlation_id', { correlation_id: filter.correlation_id });
  if (filter.since !== undefined) select.andWhere('e.time >= :since', { since: new Date(filter.since) });
  if (filter.until !== undefined) select.andWhere('e.time < :until', { until: new Date(filter.until) });
  if (beyond !== null) {
    const names = columns.map((column) => `:${column === 'e.log_position' ? 'position' : column.slice('e.'.length)}`);
    select.andWhere(`(${columns.join(', ')}) ${comparison} (${names.join(', ')})`, beyond);
  }
  return select;
}
