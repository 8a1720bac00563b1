import { type BeforeApplicationShutdown, type DynamicModule, Global, Inject, Logger, Module } from '@nestjs/common';
import type pg from 'pg';
import { Clock, Ids } from '../../../lib/clock/clock.js';
import { POSTGRES_POOL } from '../postgres/postgres.module.js';
import { CheckedEventStore, type EventCheck } from './checked-event-store.js';
import { copyState, requireWhole } from './copy-state.js';
import { ASKED_PATIENCE_MS, CommandRunner, HUB_ID } from './command-runner.js';
import { EventStore } from './event-store.port.js';
import type { EventStoreDbOptions } from './eventstoredb/eventstoredb-connection.js';
import type { EventStoreDbEventStore } from './eventstoredb/eventstoredb-event-store.js';
import { requireHistory } from './history-witness.js';
import { FencedEventStore } from './fenced-event-store.js';
import { HubLease } from '../postgres/hub-lease.js';
import { FAILPOINT_VARIABLE, FailpointEventStore, failpointSource } from './failpoint-event-store.js';
import { PostgresEventStore } from './postgres-event-store.js';

export interface EventStoreOptions {
  /** The hub's id, a UUID. */
  readonly hubId: string;
  /** Check that every event must pass before it is stored. Default: none. */
  readonly check?: EventCheck;
  /** Keeps the events in EventStoreDB. Default: in PostgreSQL. */
  readonly eventStoreDb?: EventStoreDbOptions | undefined;
}

/** Injection token of the adapter, without the checks around it. */
const ADAPTER = Symbol('ADAPTER');
type Adapter = PostgresEventStore | EventStoreDbEventStore;

/** How long a request waits for an unavailable store, in milliseconds. A cluster needs up to 21 s to replace a leader that no longer answers. */
const PATIENCE_WITH_EVENTSTOREDB_MS = 25_000;

/** Provides `EventStore`, `CommandRunner`, `Clock`, `Ids` and `HUB_ID` to all modules. Needs the `POSTGRES_POOL` of PostgresModule. */
@Global()
@Module({})
export class EventStoreModule implements BeforeApplicationShutdown {
  constructor(@Inject(ADAPTER) private readonly adapter: Adapter) {}

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
        ...(options.eventStoreDb === undefined ? [] : [{ provide: ASKED_PATIENCE_MS, useValue: PATIENCE_WITH_EVENTSTOREDB_MS }]),
        {
          provide: ADAPTER,
          inject: [POSTGRES_POOL, HubLease],
          useFactory: async (pool: pg.Pool, lease: HubLease): Promise<Adapter> => {
            const log = new Logger('EventStore');
            if (options.eventStoreDb !== undefined) {
              // Its client and gRPC are a sixth of the program, for which a hub on PostgreSQL has no use.
              const { openEventStoreDb } = await import('./eventstoredb/open-eventstoredb.js');
              return openEventStoreDb(options.eventStoreDb, pool, log);
            }
            requireWhole(await copyState(pool), 'PostgreSQL');
            const store = new PostgresEventStore(pool, log, () => lease.term);
            await requireHistory(store, pool, 'PostgreSQL');
            return store;
          },
        },
        {
          provide: EventStore,
          inject: [ADAPTER, HubLease],
          useFactory: (store: Adapter, lease: HubLease) => {
            const fenced = new FencedEventStore(store, lease);
            const failing = failpoint === undefined ? fenced : new FailpointEventStore(fenced, failpoint);
            return new CheckedEventStore(failing, options.check);
          },
        },
      ],
      exports: [EventStore, CommandRunner, Clock, Ids, HUB_ID],
    };
  }

  /** Ends subscriptions before the next phase closes connections. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.adapter.close();
  }
}
