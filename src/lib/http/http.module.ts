import { type DynamicModule, Module, type ModuleMetadata, type Provider, type Type } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { Clock, Ids } from '../clock/clock.js';
import { HubConfig } from '../../hub/hub.config.js';
import { loggerFor } from '../logging/logger.js';
import { type CallDirection, MAX_CLOCK_DIFFERENCE_MS } from '../signed-calls/call-signature.js';
import { NodeCredentials } from '../signed-calls/node-credentials.js';
import { SeenNonces } from '../signed-calls/seen-nonces.js';
import { BodyGuard } from './body.guard.js';
import { QueryGuard } from './query.guard.js';
import { BearerGuard, CALLS_HERE } from './bearer.guard.js';
import { CommandContextInterceptor } from './command-context.interceptor.js';
import { HealthChecks } from './health-checks.js';
import { HttpMetrics } from './http-metrics.js';
import { IdempotencyInterceptor } from '../../hub/operations/http/idempotency.interceptor.js';
import { ListenAddress } from './listen-address.js';
import { MetricsRegistry } from './metrics-registry.js';
import { OwnWritesInterceptor } from '../../hub/operations/http/own-writes.interceptor.js';
import { ProblemFilter } from './problem.filter.js';
import { Refusals } from './refusals.js';
import { StreamLimitsInterceptor } from '../../hub/operations/http/stream-limits.js';
import { UnroutedRequests } from './unrouted-requests.js';

export interface HttpOptions {
  readonly imports?: ModuleMetadata['imports'];
  /** Where signed calls are remembered beyond the end of the program; without it they are not. */
  readonly seenCallsFile?: string;
}

/**
 * Guard, filter and interceptors of every HTTP program here; use `configureHttp` with it. Needs ACCESS_TOKENS from a global module or from `imports`.
 * - `forHub` also records commands (EventStore, HUB_ID) and lets clients read their own writes (ReadModels)
 * - `forNode` has neither store nor read models
 */
@Module({})
export class HttpModule {
  static forHub(options: HttpOptions = {}): DynamicModule {
    return httpModule(options, 'to_hub', [StreamLimitsInterceptor, IdempotencyInterceptor, OwnWritesInterceptor]);
  }

  static forNode(options: HttpOptions = {}): DynamicModule {
    return httpModule(options, 'to_node', []);
  }
}

function httpModule({ imports, seenCallsFile }: HttpOptions, callsHere: CallDirection, interceptors: readonly Type[]): DynamicModule {
  const shared: Provider[] = [
    Clock,
    Ids,
    MetricsRegistry,
    HttpMetrics,
    HealthChecks,
    NodeCredentials,
    ListenAddress,
    {
      provide: Refusals,
      // A node has no such setting: what calls it are its hub and programs of its own machine.
      inject: [MetricsRegistry, Clock, { token: HubConfig, optional: true }],
      useFactory: (registry: MetricsRegistry, clock: Clock, config?: HubConfig) => new Refusals(registry, clock, () => config?.refusedTokenDelayMs ?? 0),
    },
    { provide: CALLS_HERE, useValue: callsHere },
    { provide: SeenNonces, inject: [Clock], useFactory: (clock: Clock) => seenCalls(clock, seenCallsFile) },
  ];
  return {
    module: HttpModule,
    global: true,
    imports: imports ?? [],
    providers: [
      ...shared,
      UnroutedRequests,
      { provide: APP_FILTER, useClass: ProblemFilter },
      // In this order: nothing of a request is looked at before its caller is known.
      { provide: APP_GUARD, useClass: BearerGuard },
      { provide: APP_GUARD, useClass: QueryGuard },
      { provide: APP_GUARD, useClass: BodyGuard },
      { provide: APP_INTERCEPTOR, useClass: CommandContextInterceptor },
      ...interceptors.map((interceptor) => ({ provide: APP_INTERCEPTOR, useClass: interceptor })),
    ],
    exports: [Refusals, MetricsRegistry, HealthChecks, NodeCredentials, ListenAddress],
  };
}

/** A nonce counts once for as long as a call of its time may be fresh by either clock. */
function seenCalls(clock: Clock, file: string | undefined): SeenNonces {
  const log = loggerFor('SignedCalls');
  let told = false;
  const onProblem = (error: unknown): void => {
    if (told) return;
    told = true;
    log.warn('calls cannot be remembered beyond the end of this program', { file, error });
  };
  return new SeenNonces(2 * MAX_CLOCK_DIFFERENCE_MS, file === undefined ? null : { file, nowMs: clock.now().getTime(), onProblem });
}
