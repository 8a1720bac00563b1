import { Global, Module, type Provider, type Type } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { allProjections, allReadModels } from '../../projections/all-projections.js';
import { EventStoreModule } from '../../src/hub/store/event-store/event-store.module.js';
import type { Position } from '../../src/kernel/position.js';
import { EventStore } from '../../src/hub/store/event-store/event-store.port.js';
import { ACCESS_TOKENS } from '../../src/lib/http/access-tokens.js';
import { configureHttp } from '../../src/lib/http/configure-http.js';
import { hubHttpModule } from '../../src/hub/operations/http/hub-http.module.js';
import { serveOpenApi } from '../../src/hub/operations/http/open-api.js';
import { LockReader } from '../../src/hub/repositories/repositories/model/lock.reader.js';
import { PostgresModule } from '../../src/hub/store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../src/hub/store/postgres/projections.module.js';
import { goldenHistory } from './golden-streams.js';
import { API_TOKEN, NODE_TOKEN, OPEN_API } from './http-app.js';
import { createTestDatabase } from './postgres.js';
import { eventCheckOf } from '../../src/hub/store/postgres/event-check.js';

export interface QueryApp {
  readonly app: NestExpressApplication;
  readonly store: EventStore;
  close(): Promise<void>;
}

/** Store, projections and HTTP of a hub on a database of its own, or on one that the caller keeps, with these controllers and none of the reactors. */
export async function startQueryApp(parts: {
  readonly controllers?: readonly Type[];
  readonly imports?: readonly Type[];
  readonly providers?: readonly Provider[];
  readonly databaseUrl?: string;
}): Promise<QueryApp> {
  const own = parts.databaseUrl === undefined ? await createTestDatabase() : null;
  const databaseUrl = parts.databaseUrl ?? own?.databaseUrl ?? '';

  @Global()
  @Module({ providers: [{ provide: ACCESS_TOKENS, useValue: { apiToken: API_TOKEN, nodeToken: NODE_TOKEN } }], exports: [ACCESS_TOKENS] })
  class TokensOfTest {}

  /** The golden history's repositories do not exist. */
  @Global()
  @Module({ providers: [{ provide: LockReader, useValue: { level: () => Promise.resolve({ level: 'none', immutable: 'unknown' }) } }], exports: [LockReader] })
  class LocksOfTest {}

  const testing = await Test.createTestingModule({
    imports: [
      TokensOfTest,
      LocksOfTest,
      PostgresModule.forRoot({ databaseUrl, readModels: allReadModels }),
      EventStoreModule.forRoot({ hubId: '6b7e4f0a-0000-4000-8000-000000000001', check: eventCheckOf(allProjections) }),
      ProjectionsModule.forRoot(allProjections),
      hubHttpModule(),
      ...(parts.imports ?? []),
    ],
    controllers: [...(parts.controllers ?? [])],
    providers: [...(parts.providers ?? [])],
  }).compile();
  const app = testing.createNestApplication<NestExpressApplication>({ logger: false, bodyParser: false, forceCloseConnections: true });
  configureHttp(app);
  serveOpenApi(app, OPEN_API);
  await app.listen(0, '127.0.0.1');
  return {
    app,
    store: app.get(EventStore, { strict: false }),
    close: async () => {
      await app.close();
      await own?.drop();
    },
  };
}

/** Appends all golden streams, event by event in the order of their times. @returns the position of the last event */
export async function appendGoldenHistory(store: EventStore): Promise<Position> {
  let position: Position = '';
  for (const { stream, revision, id, type, data, metadata } of goldenHistory()) {
    ({ position } = await store.append(stream, revision === 0 ? 'no_stream' : revision - 1, [{ id, type, data, metadata }]));
  }
  return position;
}
