import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable } from '@nestjs/common';
import { ArrayOverlap, DataSource, In, MoreThan, type ObjectLiteral } from 'typeorm';
import { AuditEventReadModel } from '../../../../../projections/audit-events/audit-events.read-model.js';
import type { JsonObject, JsonValue } from '../../../../kernel/json.js';
import type { PastInstant } from '../../../../lib/http/request-state.js';
import type { RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { readAsOf } from '../../../store/postgres/as-of.js';
import type { Projection } from '../../../store/postgres/projection-definition.js';
import { PROJECTIONS } from '../../../store/postgres/projections.js';
import type { Column } from '../../../store/postgres/read-model-definition.js';
import { toHistoryEvent } from '../time-travel.response.js';
import type { ChangeResponse } from './diff.dto.js';

/** Maximum number of events between the two instants. */
export const MAX_EVENTS = 10_000;

type Events = readonly AuditEventReadModel[];

/** Compares the read models at two instants. */
@Injectable()
export class DiffReader {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(PROJECTIONS) private readonly projections: readonly Projection[],
  ) {}

  /** @returns null if there are more than MAX_EVENTS events in between */
  async between(from: PastInstant, to: PastInstant): Promise<readonly ChangeResponse[] | null> {
    const events: Events = await readAsOf(to, () =>
      this.dataSource
        .getRepository(AuditEventReadModel)
        .find({ where: { log_position: MoreThan(from.position ?? '') }, order: { log_position: 'ASC' }, take: MAX_EVENTS + 1 }),
    );
    if (events.length > MAX_EVENTS) return null;
    const changes: ChangeResponse[] = [];
    for (const projection of this.projections) {
      // Each event is a row of the audit log.
      if (projection.categories === null) continue;
      const touched = await this.touched(projection, to, events);
      const before = await this.rows(projection, from, [...touched.keys()]);
      const after = await this.rows(projection, to, [...touched.keys()]);
      for (const [id, causes] of touched) {
        const change = changeOf(projection, before.get(id) ?? null, after.get(id) ?? null);
        if (change !== null) changes.push({ kind: projection.name, id, ...change, events: causes.map(toHistoryEvent) });
      }
    }
    return changes;
  }

  /** The rows that events have touched, by their keys. */
  private async touched(projection: Projection, to: PastInstant, events: Events): Promise<Map<string, AuditEventReadModel[]>> {
    const touched = new Map<string, AuditEventReadModel[]>();
    const touch = (key: string, event: AuditEventReadModel): void => void touched.set(key, [...(touched.get(key) ?? []), event]);
    const referring: { readonly reference: string; readonly event: AuditEventReadModel }[] = [];
    for (const event of events) {
      if (projection.categories?.includes(event.category) === false) continue;
      for (const key of projection.keys(asRecorded(event))) {
        if (typeof key === 'string') touch(key, event);
        else referring.push({ reference: key.reference, event });
      }
    }
    const { references, key } = projection;
    if (references === undefined || referring.length === 0) return touched;
    const wanted = [...new Set(referring.map(({ reference }) => reference))];
    const holders = await readAsOf(to, () => this.dataSource.getRepository<ObjectLiteral>(projection.name).findBy({ [references]: ArrayOverlap(wanted) }));
    for (const { reference, event } of referring) {
      const holder = holders.find((row) => (row[references] as readonly string[]).includes(reference));
      if (holder !== undefined) touch(String(holder[key]), event);
    }
    return touched;
  }

  private async rows({ name, key }: Projection, instant: PastInstant, keys: readonly string[]): Promise<ReadonlyMap<string, JsonObject>> {
    if (keys.length === 0) return new Map();
    const rows = await readAsOf(instant, () => this.dataSource.getRepository<ObjectLiteral>(name).findBy({ [key]: In([...keys]) }));
    // Times become text, as the API shows them.
    return new Map(rows.map((row) => [String(row[key]), JSON.parse(JSON.stringify(row)) as JsonObject]));
  }
}

/** The columns that differ in more than progress; null: none. */
function changeOf(projection: Projection, before: JsonObject | null, after: JsonObject | null): Pick<ChangeResponse, 'change' | 'before' | 'after'> | null {
  if (before === null && after === null) return null;
  if (before === null) return { change: 'added', before, after };
  if (after === null) return { change: 'removed', before, after };
  const differing = Object.entries<Column>(projection.columns).flatMap(([name, { lasting }]) => {
    const kept = (value: JsonValue | undefined): JsonValue | undefined => (lasting === null ? value : lasting(value));
    return isDeepStrictEqual(kept(before[name]), kept(after[name])) ? [] : [name];
  });
  if (differing.length === 0) return null;
  const only = (row: JsonObject): JsonObject => Object.fromEntries(differing.map((name) => [name, row[name] ?? null]));
  return { change: 'changed', before: only(before), after: only(after) };
}

function asRecorded(event: AuditEventReadModel): RecordedEvent {
  return {
    id: event.event_id,
    stream: event.stream,
    revision: Number(event.revision),
    position: event.log_position,
    type: event.type,
    data: event.data,
    metadata: {
      $correlationId: event.correlation_id,
      $causationId: event.causation_id,
      actor: event.actor,
      hub_id: event.hub_id,
      schema_version: event.schema_version,
      time: event.time.toISOString(),
    },
    recordedAt: event.recorded_at.toISOString(),
  };
}
