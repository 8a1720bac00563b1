import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { Clock, Ids } from '../../../lib/clock/clock.js';
import { PostgresModule } from '../postgres/postgres.module.js';
import { CommandRunner, HUB_ID } from './command-runner.js';
import { EventStoreModule } from './event-store.module.js';
import { EventStore } from './event-store.port.js';
import { FailpointEventStore } from './failpoint-event-store.js';

jest.setTimeout(30_000);

describe('the modules of PostgreSQL and the event store', () => {
  let database: TestDatabase;
  const hubId = randomUUID();

  beforeEach(async () => {
    Logger.overrideLogger(false);
    database = await createTestDatabase({ migrated: false });
  });

  afterEach(async () => {
    delete process.env['SENDENSE_FAILPOINT'];
    await database.drop();
  });

  const open = () =>
    Test.createTestingModule({ imports: [PostgresModule.forRoot({ databaseUrl: database.databaseUrl }), EventStoreModule.forRoot({ hubId })] }).compile();

  it('migrate an empty database, provide everything, and close every connection when the hub stops', async () => {
    const hub = await open();
    await hub.init();
    const store = hub.get(EventStore);
    expect(hub.get(CommandRunner)).toBeInstanceOf(CommandRunner);
    expect(hub.get(Clock)).toBeInstanceOf(Clock);
    expect(hub.get(Ids)).toBeInstanceOf(Ids);
    expect(hub.get(HUB_ID)).toBe(hubId);
    const delivered = new Promise<string>((resolve) => {
      store.subscribeToAll({
        after: null,
        handle: async ({ events }) => {
          resolve(events.map(({ type }) => type).join());
        },
      });
    });
    const metadata = {
      $correlationId: randomUUID(),
      $causationId: randomUUID(),
      actor: 'system:test',
      hub_id: hubId,
      schema_version: 1,
      time: new Date().toISOString(),
    };
    await store.append('hub-1', 'no_stream', [{ id: randomUUID(), type: 'Started', data: {}, metadata }]);
    expect(await delivered).toBe('Started');
    expect(await hub.get(DataSource).query(`select count(*)::integer as events from event_store.events`)).toEqual([{ events: 1 }]);
    await hub.close();

    const next = await open();
    await next.init();
    expect(await next.get(EventStore).head()).not.toBeNull();
    const sessions: unknown = await next
      .get(DataSource)
      .query(`select application_name from pg_stat_activity where datname = current_database() and application_name like 'sendense-hub-lock-%'`);
    expect(sessions).toHaveLength(1);
    await next.close();
  });

  it('refuse a second hub in the same database', async () => {
    const first = await open();
    await expect(open()).rejects.toMatchObject({ code: 'hub_already_running' });
    await first.close();
  });

  it('put the failpoint in front of the store only when it is configured, and refuse a malformed one', async () => {
    process.env['SENDENSE_FAILPOINT'] = 'after:BackupPlanned:1';
    const hub = await open();
    // Behind the check, which every append passes first.
    expect(Object.values(hub.get(EventStore)).some((inner) => inner instanceof FailpointEventStore)).toBe(true);
    await hub.close();
    process.env['SENDENSE_FAILPOINT'] = 'sometimes';
    expect(() => EventStoreModule.forRoot({ hubId })).toThrow(/SENDENSE_FAILPOINT/);
  });
});
