import { Global, type INestApplication, Module, type ModuleMetadata, type Type } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { CheckedEventStore } from '../../src/hub/store/event-store/checked-event-store.js';
import { HUB_ID } from '../../src/hub/store/event-store/command-runner.js';
import { EventStore } from '../../src/hub/store/event-store/event-store.port.js';
import { ACCESS_TOKENS } from '../../src/lib/http/access-tokens.js';
import { configureHttp } from '../../src/lib/http/configure-http.js';
import { hubHttpModule } from '../../src/hub/operations/http/hub-http.module.js';
import { type OpenApiOptions, serveOpenApi } from '../../src/hub/operations/http/open-api.js';
import { readApiSchemas } from '../../src/hub/operations/http/open-api-schemas.js';
import { HubLease } from '../../src/hub/store/postgres/hub-lease.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { PastInstants } from '../../src/hub/store/postgres/past-instants.js';
import { InMemoryEventStore } from './in-memory-event-store.js';

export const API_TOKEN = 'api-token-of-the-tests';
export const NODE_TOKEN = 'node-token-of-the-tests';
export const OPEN_API: OpenApiOptions = {
  title: 'Test',
  description: 'An application of the tests',
  version: '1.0.0',
  // Those of the last build; only tests that read the document need one.
  get schemas() {
    return readApiSchemas(new URL('../../dist/src/hub/api-schemas.json', import.meta.url));
  },
};

/** No route of these applications reads the past. */
@Global()
@Module({ providers: [{ provide: PastInstants, useValue: {} }], exports: [PastInstants] })
class WithoutPast {}

export interface HttpApp {
  readonly app: NestExpressApplication;
  readonly store: InMemoryEventStore;
  readonly readModels: ReadModels;
  close(): Promise<void>;
}

/** The hub's HTTP parts around some controllers; `store` as it was left by an earlier application stands for a restart. */
export async function startHttpApp(
  controllers: readonly Type[],
  options: {
    readonly store?: InMemoryEventStore;
    readonly imports?: ModuleMetadata['imports'];
    readonly providers?: ModuleMetadata['providers'];
    readonly seenCallsFile?: string;
  } = {},
): Promise<HttpApp> {
  const store = options.store ?? new InMemoryEventStore();
  const checked = new CheckedEventStore(store);
  const readModels = new ReadModels(checked);

  @Global()
  @Module({
    providers: [
      { provide: EventStore, useValue: checked },
      { provide: ReadModels, useValue: readModels },
      { provide: HubLease, useValue: { term: 1, view: () => Promise.resolve(null) } },
      { provide: HUB_ID, useValue: '6b7e4f0a-0000-4000-8000-000000000001' },
      { provide: ACCESS_TOKENS, useValue: { apiToken: API_TOKEN, nodeToken: NODE_TOKEN } },
    ],
    exports: [EventStore, ReadModels, HubLease, HUB_ID, ACCESS_TOKENS],
  })
  class PlatformOfTest {}

  const testing = await Test.createTestingModule({
    imports: [
      PlatformOfTest,
      WithoutPast,
      hubHttpModule(options.seenCallsFile === undefined ? {} : { seenCallsFile: options.seenCallsFile }),
      ...(options.imports ?? []),
    ],
    controllers: [...controllers],
    providers: [...(options.providers ?? [])],
  }).compile();
  const app = testing.createNestApplication<NestExpressApplication>({ logger: false, bodyParser: false, forceCloseConnections: true });
  configureHttp(app);
  serveOpenApi(app, OPEN_API);
  await app.listen(0, '127.0.0.1');
  return { app, store, readModels, close: () => closeApp(app) };
}

async function closeApp(app: INestApplication): Promise<void> {
  await app.close();
}
