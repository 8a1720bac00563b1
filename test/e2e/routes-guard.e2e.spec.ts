import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Body, Controller, Delete, Get, Post } from '@nestjs/common';
import { HealthController } from '../../src/hub/operations/health/health.controller.js';
import { MetricsModule } from '../../src/hub/operations/metrics/metrics.module.js';
import { NodeOnly, Public } from '../../src/lib/http/bearer.guard.js';
import { API_TOKEN, type HttpApp, NODE_TOKEN, startHttpApp } from '../support/http-app.js';
import { observeAccess, servedRoutes } from '../support/route-guards.js';

const tokens = { apiToken: API_TOKEN, nodeToken: NODE_TOKEN };

@Controller('guarded')
class GuardedController {
  @Get(':id')
  get(): string {
    return 'got';
  }
  @Delete(':id')
  remove(): string {
    return 'removed';
  }
  @NodeOnly()
  @Post('telemetry/:job')
  report(@Body() body: object): object {
    return body;
  }
}

@Public()
@Controller('open')
class OpenController {
  @Get('any')
  any(): string {
    return 'open to anyone';
  }
  /** Says for itself what its controller opens. */
  @NodeOnly()
  @Get('narrowed')
  narrowed(): string {
    return 'for nodes';
  }
}

let http: HttpApp;

beforeAll(async () => {
  http = await startHttpApp([GuardedController, OpenController, HealthController], { imports: [MetricsModule] });
});

afterAll(async () => {
  await http.close();
});

describe('the walk of all routes', () => {
  it('sees each route of the router, those past Nest (the API page) included, and who may call it', async () => {
    const observed: Record<string, string[]> = { public: [], api: [], node: [] };
    for (const route of servedRoutes(http.app)) {
      observed[await observeAccess(http.app, route, tokens)]?.push(`${route.method} ${route.path}`);
    }
    expect(observed['public']).toEqual(['GET /', 'GET /api/v1/open/any', 'GET /api/v1/health', 'GET /api/v1/health/live', 'GET /api/v1/health/ready']);
    expect(observed['node']).toEqual(['POST /api/v1/guarded/telemetry/:job', 'GET /api/v1/open/narrowed']);
    expect(observed['api']).toEqual(
      expect.arrayContaining([
        'GET /api/v1/guarded/:id',
        'DELETE /api/v1/guarded/:id',
        'GET /api/v1/metrics',
        'GET /api/docs',
        'GET /api/docs/swagger-ui-init.js',
        'GET /api/openapi.json',
      ]),
    );
  });
});
