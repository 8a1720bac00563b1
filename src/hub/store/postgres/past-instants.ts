import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Clock } from '../../../lib/clock/clock.js';
import type { PastInstant } from '../../../lib/http/request-state.js';
import type { Position } from '../../../kernel/position.js';
import { EventStore } from '../event-store/event-store.port.js';
import { ReadModels } from './read-models.js';

/** The read model with one row for each event: it relates positions to times. */
const EVENTS = 'audit_events';

/** Finds instants at which the read models can be read. */
@Injectable()
export class PastInstants {
  constructor(
    private readonly dataSource: DataSource,
    private readonly store: EventStore,
    private readonly readModels: ReadModels,
    private readonly clock: Clock,
  ) {}

  /**
   * The instant after the last event recorded at or before a time.
   * @param time ISO 8601
   * @returns null if the time is in the future @throws as `ReadModels.waitForPast`, EventStoreUnavailableError
   */
  async atTime(time: string): Promise<PastInstant | null> {
    if (time > this.clock.iso()) return null;
    await this.readModels.current(EVENTS);
    const [last] = await this.dataSource.query<{ position: Position }[]>(
      `select log_position as position from ${EVENTS} where recorded_at <= $1 order by recorded_at desc, log_position desc limit 1`,
      [time],
    );
    if (last !== undefined) await this.readModels.waitForPast(last.position);
    return { position: last?.position ?? null, time };
  }

  /** Whether a position is of another kind of event store. */
  isForeign(position: Position): boolean {
    return this.readModels.isForeign(position);
  }

  /** The instant after the event at a position. @returns null if the store has not reached it @throws as `atTime` */
  async atPosition(position: Position): Promise<PastInstant | null> {
    // Most instants lie behind the read models, which then need not ask the store.
    if (position > (this.readModels.positions().get(EVENTS) ?? '')) {
      const head = await this.store.head();
      if (head === null || position > head) return null;
    }
    await this.readModels.waitForPast(position);
    const [last] = await this.dataSource.query<{ time: Date }[]>(
      `select recorded_at as time from ${EVENTS} where log_position <= $1 order by log_position desc limit 1`,
      [position],
    );
    return last === undefined ? { position: null, time: new Date(0).toISOString() } : { position, time: last.time.toISOString() };
  }
}
