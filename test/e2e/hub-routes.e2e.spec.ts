import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { HubModule } from '../../src/hub.module.js';
import { HubConfig } from '../../src/platform/config/hub.config.js';
import { loadConfig } from '../../src/platform/config/load-config.js';
import { configureHttp } from '../../src/platform/http/configure-http.js';
import { openApiDocument, serveOpenApi } from '../../src/platform/http/open-api.js';
import { API_TOKEN, NODE_TOKEN, OPEN_API } from '../support/http-app.js';
import { missingInOpenApi } from '../support/openapi-complete.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { observeAccess, servedRoutes } from '../support/route-guards.js';

jest.setTimeout(60_000);

const tokens = { apiToken: API_TOKEN, nodeToken: NODE_TOKEN };

let database: TestDatabase;
let dataDirectory: string;
let app: NestExpressApplication;

beforeAll(async () => {
  database = await createTestDatabase();
  dataDirectory = await mkdtemp(join(tmpdir(), 'sendense-hub-routes-'));
  const config = loadConfig(HubConfig, { environment: { SENDENSE_DATA_DIRECTORY: dataDirectory, SENDENSE_REFUSED_TOKEN_DELAY_MS: '0' } });
  const testing = await Test.createTestingModule({
    imports: [
      HubModule.forRoot({
        config,
        hubId: '6b7e4f0a-0000-4000-8000-000000000001',
        databaseUrl: database.databaseUrl,
        tokens,
        onLockLost: () => {
          throw new Error('the test has lost its own database');
        },
      }),
    ],
  }).compile();
  app = testing.createNestApplication<NestExpressApplication>({ logger: false, bodyParser: false, forceCloseConnections: true });
  configureHttp(app);
  serveOpenApi(app, OPEN_API);
  await app.listen(0, '127.0.0.1');
});

afterAll(async () => {
  await app.close();
  await database.drop();
  await rm(dataDirectory, { recursive: true, force: true });
});

describe('the routes of the hub', () => {
  it('need a token, all but health; telemetry needs that of a node', async () => {
    const observed: Record<string, string[]> = { public: [], api: [], node: [] };
    for (const route of servedRoutes(app)) observed[await observeAccess(app, route, tokens)]?.push(`${route.method} ${route.path}`);
    // Pairing has a secret of its own.
    expect(observed['public']?.sort()).toEqual(['GET /api/v1/health/live', 'GET /api/v1/health/ready', 'POST /api/v1/nodes/pair']);
    expect(observed['node']?.sort()).toEqual([
      'POST /api/v1/nodes/:id/keys-in-use',
      'POST /api/v1/telemetry/backup/:job_id',
      'POST /api/v1/telemetry/tunnel/:node_id',
    ]);
    expect(observed['api']).toEqual(expect.arrayContaining(['POST /api/v1/backups', 'GET /api/v1/metrics', 'GET /api/docs', 'GET /api/openapi.json']));
  });

  it('are documented completely', () => {
    expect(missingInOpenApi(openApiDocument(app, OPEN_API))).toEqual([]);
  });
});
