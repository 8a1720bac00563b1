import { type BeforeApplicationShutdown, type DynamicModule, Global, Logger, Module } from '@nestjs/common';
import type pg from 'pg';
import { Clock, Ids } from '../../../lib/clock/clock.js';
import { POSTGRES_POOL } from '../postgres/postgres.module.js';
import { CheckedEventStore, type EventCheck } from './checked-event-store.js';
import { CommandRunner, HUB_ID } from './command-runner.js';
import { EventStore } from './event-store.port.js';
import { FAILPOINT_VARIABLE, FailpointEventStore, failpointSource } from './failpoint-event-store.js';
import { PostgresEventStore } from './postgres-event-store.js';

export interface EventStoreOptions {
  /** The hub's id, a UUID. */
  readonly hubId: string;
  /** Check that every event must pass before it is stored. Default: none. */
  readonly check?: EventCheck;
}

/** Provides `EventStore`, `CommandRunner`, `Clock`, `Ids` and `HUB_ID` to all modules. Needs the `POSTGRES_POOL` of PostgresModule. */
@Global()
@Module({})
export class EventStoreModule implements BeforeApplicationShutdown {
  constructor(private readonly postgresStore: PostgresEventStore) {}

  /** @throws RangeError if the failpoint's variable is malformed, before anything is connected */
  static forRoot(options: EventStoreOptions): DynamicModule {
    const variable = process.env[FAILPOINT_VARIABLE];
    const failpoint = variable === undefined || variable === '' ? undefined : failpointSource(variable);
    return {
      module: EventStoreModule,
      providers: [
        Clock,
        Ids,
        CommandRunner,
        { provide: HUB_ID, useValue: options.hubId },
        {
          provide: PostgresEventStore,
          inject: [POSTGRES_POOL],
          useFactory: (pool: pg.Pool) => new PostgresEventStore(pool, new Logger('EventStore')),
        },
        {
          provide: EventStore,
          inject: [PostgresEventStore],
          useFactory: (store: PostgresEventStore) => {
            const failing = failpoint === undefined ? store : new FailpointEventStore(store, failpoint);
            return new CheckedEventStore(failing, options.check);
          },
        },
      ],
      exports: [EventStore, CommandRunner, Clock, Ids, HUB_ID],
    };
  }

  /** Ends subscriptions before the next phase closes connections. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.postgresStore.close();
  }
}
