import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Validator } from '@seriousme/openapi-schema-validator';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { HubModule } from '../../src/hub/hub.module.js';
import { HubConfig } from '../../src/hub/hub.config.js';
import { loadConfig } from '../../src/lib/config/load-config.js';
import { configureHttp } from '../../src/lib/http/configure-http.js';
import { openApiDocument, serveOpenApi } from '../../src/hub/operations/http/open-api.js';
import { ApiContract, at, type JsonMap, map } from '../support/api-contract.js';
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
    // The bare address leads to the API page, and pairing has a secret of its own.
    expect(observed['public']?.sort()).toEqual([
      'GET /',
      'GET /api/v1/health',
      'GET /api/v1/health/live',
      'GET /api/v1/health/ready',
      'POST /api/v1/nodes/pair',
    ]);
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

  it('are served as a valid document of OpenAPI 3.1, whose every schema can be used and whose every example fits its schema', async () => {
    const served = await fetch(`${await app.getUrl()}/api/openapi.json`, { headers: { authorization: `Bearer ${API_TOKEN}` } });
    const document = (await served.json()) as JsonMap;
    const validator = new Validator();
    expect(await validator.validate(structuredClone(document))).toMatchObject({ valid: true });
    expect(validator.version).toBe('3.1');

    const contract = new ApiContract(document);
    const wrong: string[] = [];
    for (const [name, schema] of Object.entries(map(at(document, 'components', 'schemas')))) {
      for (const [member, property] of Object.entries(map(at(schema, 'properties') ?? {}))) {
        const example = at(property, 'example');
        const validate = contract.validator(property);
        if (example !== undefined && !validate(example)) wrong.push(`${name}.${member}: ${JSON.stringify(validate.errors)}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('are not served as a valid document when an answer is not described', async () => {
    const document = JSON.parse(JSON.stringify(openApiDocument(app, OPEN_API))) as { paths: Record<string, { get: { responses: unknown } }> };
    const list = document.paths['/api/v1/backups'];
    if (list === undefined) throw new Error('there is no list of backups');
    list.get.responses = { 200: { content: 'a list' } };
    expect(await new Validator().validate(document)).toMatchObject({ valid: false });
  });
});
