import { type DynamicModule, Module, type ModuleMetadata, type Provider, type Type } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { Clock, Ids } from '../clock/clock.js';
import type { CallDirection } from '../signed-calls/call-signature.js';
import { NodeCredentials } from '../signed-calls/node-credentials.js';
import { BearerGuard, CALLS_HERE } from './bearer.guard.js';
import { CommandContextInterceptor } from './command-context.interceptor.js';
import { HealthChecks } from './health-checks.js';
import { HttpMetrics } from './http-metrics.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';
import { ListenAddress } from './listen-address.js';
import { MetricsRegistry } from './metrics-registry.js';
import { OwnWritesInterceptor } from './own-writes.interceptor.js';
import { ProblemFilter } from './problem.filter.js';
import { UnroutedRequests } from './unrouted-requests.js';

/**
 * Guard, filter and interceptors of every HTTP program here; use `configureHttp` with it. Needs ACCESS_TOKENS from a global module or from `imports`.
 * - `forHub` also records commands (EventStore, HUB_ID) and lets clients read their own writes (ReadModels)
 * - `forNode` has neither store nor read models
 */
@Module({})
export class HttpModule {
  static forHub(options: { readonly imports?: ModuleMetadata['imports'] } = {}): DynamicModule {
    return httpModule(options.imports, 'to_hub', [IdempotencyInterceptor, OwnWritesInterceptor]);
  }

  static forNode(options: { readonly imports?: ModuleMetadata['imports'] } = {}): DynamicModule {
    return httpModule(options.imports, 'to_node', []);
  }
}

function httpModule(imports: ModuleMetadata['imports'], callsHere: CallDirection, interceptors: readonly Type[]): DynamicModule {
  const shared: Provider[] = [
    Clock,
    Ids,
    MetricsRegistry,
    HttpMetrics,
    HealthChecks,
    NodeCredentials,
    ListenAddress,
    { provide: CALLS_HERE, useValue: callsHere },
  ];
  return {
    module: HttpModule,
    global: true,
    imports: imports ?? [],
    providers: [
      ...shared,
      UnroutedRequests,
      { provide: APP_FILTER, useClass: ProblemFilter },
      { provide: APP_GUARD, useClass: BearerGuard },
      { provide: APP_INTERCEPTOR, useClass: CommandContextInterceptor },
      ...interceptors.map((interceptor) => ({ provide: APP_INTERCEPTOR, useClass: interceptor })),
    ],
    exports: [MetricsRegistry, HealthChecks, NodeCredentials, ListenAddress],
  };
}
