import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { EventStore } from '../../store/event-store/event-store.port.js';
import { HealthChecks } from '../../../lib/http/health-checks.js';

/** Checks of the database and the event store, which every hub needs. */
@Injectable()
export class StorageHealth implements OnModuleInit {
  constructor(
    private readonly checks: HealthChecks,
    private readonly database: DataSource,
    private readonly store: EventStore,
  ) {}

  onModuleInit(): void {
    this.checks.register({
      name: 'database',
      required: true,
      check: async () => {
        await this.database.query('select 1');
      },
    });
    this.checks.register({
      name: 'event_store',
      required: true,
      check: async () => {
        await this.store.head();
      },
    });
  }
}
