import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Body, Controller, Global, HttpCode, Module, Post } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { IsString } from 'class-validator';
import request from 'supertest';
import { API_TOKEN, NODE_TOKEN } from '../../../../test/support/http-app.js';
import { type OwnPostgres, startOwnPostgres } from '../../../../test/support/postgres.js';
import type { CommandContext } from '../../../kernel/command-context.js';
import { EventStoreModule } from '../../store/event-store/event-store.module.js';
import { ACCESS_TOKENS } from '../../../lib/http/access-tokens.js';
import { Context } from '../../../lib/http/command-context.interceptor.js';
import { configureHttp } from '../../../lib/http/configure-http.js';
import { hubHttpModule } from '../http/hub-http.module.js';
import { PostgresModule } from '../../store/postgres/postgres.module.js';
import { ProjectionsModule } from '../../store/postgres/projections.module.js';
import { HubConfig } from '../../hub.config.js';
import { HealthModule } from './health.module.js';

jest.setTimeout(60_000);

class OrderDto {
  @IsString()
  name!: string;
}

let runs = 0;

@Controller('orders')
class OrdersController {
  @Post()
  @HttpCode(202)
  place(@Body() body: OrderDto, @Context() context: CommandContext): unknown {
    runs += 1;
    return { order_id: context.commandId, name: body.name };
  }
}

@Global()
@Module({
  providers: [
    { provide: ACCESS_TOKENS, useValue: { apiToken: API_TOKEN, nodeToken: NODE_TOKEN } },
    { provide: HubConfig, useClass: HubConfig },
  ],
  exports: [ACCESS_TOKENS, HubConfig],
})
class TokensOfTest {}

let postgres: OwnPostgres;
let app: NestExpressApplication;

async function startApp(): Promise<void> {
  const testing = await Test.createTestingModule({
    imports: [
      TokensOfTest,
      PostgresModule.forRoot({ databaseUrl: postgres.databaseUrl }),
      EventStoreModule.forRoot({ hubId: '6b7e4f0a-0000-4000-8000-000000000001' }),
      ProjectionsModule.forRoot([]),
      hubHttpModule(),
      HealthModule,
    ],
    controllers: [OrdersController],
  }).compile();
  app = testing.createNestApplication<NestExpressApplication>({ logger: false, bodyParser: false, forceCloseConnections: true });
  configureHttp(app);
  await app.listen(0, '127.0.0.1');
}

beforeAll(async () => {
  postgres = await startOwnPostgres();
  await startApp();
});

afterAll(async () => {
  await app.close();
  await postgres.remove();
});

const ready = () => request(app.getHttpServer()).get('/api/v1/health/ready');
const place = (key: string, name: string) =>
  request(app.getHttpServer()).post('/api/v1/orders').set('Authorization', `Bearer ${API_TOKEN}`).set('Idempotency-Key', key).send({ name });

/** Statuses of the checks by name. */
function statuses(body: { checks: readonly { name: string; status: string }[] }): Record<string, string> {
  return Object.fromEntries(body.checks.map(({ name, status }) => [name, status]));
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('the condition was not met within 30 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('a hub on a real PostgreSQL', () => {
  it('is ready with database and event store up', async () => {
    const answer = await ready();
    expect(answer.status).toBe(200);
    expect(statuses(answer.body)).toEqual({ database: 'up', event_store: 'up' });
  });

  it('repeats a stored answer after a restart of the hub', async () => {
    const first = await place('k1', 'größe 💾');
    await app.close();
    await startApp();
    const again = await place('k1', 'größe 💾');
    expect(first.status).toBe(202);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect(again.body).toEqual(first.body);
    expect((await place('k1', 'other')).status).toBe(422);
    expect(runs).toBe(1);
  });

  it('is not ready while PostgreSQL is stopped, refuses commands with 503, and recovers by itself', async () => {
    await postgres.server.stop();
    const answer = await ready();
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({ code: 'not_ready' });
    expect(statuses(answer.body)).toMatchObject({ database: 'down', event_store: 'down' });
    expect((await request(app.getHttpServer()).get('/api/v1/health/live')).status).toBe(200);
    const refused = await place('k2', 'a');
    expect(refused.status).toBe(503);
    expect(refused.body).toMatchObject({ code: 'storage_unavailable' });
    expect(refused.headers['retry-after']).toBe('5');
    expect(runs).toBe(1);

    await postgres.server.ensureStarted();
    await until(async () => (await ready()).status === 200);
    expect((await place('k2', 'a')).status).toBe(202);
    expect(runs).toBe(2);
  });
});
