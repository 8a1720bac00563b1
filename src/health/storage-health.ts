import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { DomainError } from '../kernel/domain-error.js';
import { EventStore } from '../platform/event-store/event-store.port.js';
import { HealthChecks } from '../platform/http/health-checks.js';
import { Projections } from '../platform/postgres/projections.js';

/** The checks that every hub has: database, event store, projections. */
@Injectable()
export class StorageHealth implements OnModuleInit {
  constructor(
    private readonly checks: HealthChecks,
    private readonly database: DataSource,
    private readonly store: EventStore,
    private readonly projections: Projections,
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
    this.checks.register({
      name: 'projections',
      required: true,
      check: () => {
        const halted = this.projections.halted().map(({ name }) => name);
        if (halted.length > 0) {
          return Promise.reject(new DomainError('unavailable', 'projection_halted', `Halted: ${halted.join(', ')}; see GET /projections.`, { halted }));
        }
        return Promise.resolve();
      },
    });
  }
}
