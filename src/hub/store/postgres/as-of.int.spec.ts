import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { afterEach, expect, it } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { beginRequest, runInRequest } from '../../../lib/http/request-state.js';
import { openDataSource } from './postgres.module.js';

let database: TestDatabase;

afterEach(async () => {
  await database.drop();
});

it('closes a data source whose reader of the past has not ended its transaction', async () => {
  database = await createTestDatabase({ migrated: false });
  const dataSource = await openDataSource(database.databaseUrl);
  const state = beginRequest(new IncomingMessage(new Socket()), 'correlation');
  state.instant = { position: null, time: '2026-01-01T00:00:00.000Z' };
  await runInRequest(state, () => dataSource.query('select 1'));
  await dataSource.destroy();
  expect(dataSource.isInitialized).toBe(false);
});
