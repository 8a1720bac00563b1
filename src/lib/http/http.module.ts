import { type DynamicModule, Module, type ModuleMetadata, type Provider, type Type } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { Clock, Ids } from '../clock/clock.js';
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
import { ListenAddress } from './listen-address.js';
import { MetricsRegistry } from './metrics-registry.js';
import { ERROR_TRANSLATION, type ErrorTranslation, noTranslation } from './problem.js';
import { ProblemFilter } from './problem.filter.js';
import { Refusals } from './refusals.js';
import { UnroutedRequests } from './unrouted-requests.js';

/** Delay in milliseconds before a call without a valid token is refused. A provider of `() => number`; without it there is no delay. */
export const REFUSAL_DELAY = Symbol('REFUSAL_DELAY');

export interface HttpOptions {
  readonly imports?: ModuleMetadata['imports'];
  /** File that remembers signed calls across restarts; without it they are forgotten. */
  readonly seenCallsFile?: string;
}

/** The HTTP parts of one program, in addition to the shared ones. */
export interface HttpProgram {
  readonly callsHere: CallDirection;
  /** Around each handler, in this order, after the request has its command id. */
  readonly interceptors?: readonly Type[];
  readonly translate?: ErrorTranslation;
  readonly providers?: readonly Provider[];
}

/** Guards, filter and interceptors of every HTTP program here; use it with `configureHttp`. Needs ACCESS_TOKENS from a global module or from `imports`. */
@Module({})
export class HttpModule {
  static of(program: HttpProgram, options: HttpOptions = {}): DynamicModule {
    return httpModule(program, options);
  }
}

function httpModule(
  { callsHere, interceptors = [], translate = noTranslation, providers = [] }: HttpProgram,
  { imports, seenCallsFile }: HttpOptions,
): DynamicModule {
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
      inject: [MetricsRegistry, Clock, { token: REFUSAL_DELAY, optional: true }],
      useFactory: (registry: MetricsRegistry, clock: Clock, delayMs?: () => number) => new Refusals(registry, clock, delayMs ?? (() => 0)),
    },
    { provide: CALLS_HERE, useValue: callsHere },
    { provide: ERROR_TRANSLATION, useValue: translate },
    { provide: SeenNonces, inject: [Clock], useFactory: (clock: Clock) => seenCalls(clock, seenCallsFile) },
  ];
  return {
    module: HttpModule,
    global: true,
    imports: imports ?? [],
    providers: [
      ...shared,
      ...providers,
      UnroutedRequests,
      { provide: APP_FILTER, useClass: ProblemFilter },
      // In this order: no part of a request is examined before its caller is known.
      { provide: APP_GUARD, useClass: BearerGuard },
      { provide: APP_GUARD, useClass: QueryGuard },
      { provide: APP_GUARD, useClass: BodyGuard },
      { provide: APP_INTERCEPTOR, useClass: CommandContextInterceptor },
      ...interceptors.map((interceptor) => ({ provide: APP_INTERCEPTOR, useClass: interceptor })),
    ],
    exports: [Refusals, MetricsRegistry, HealthChecks, NodeCredentials, ListenAddress],
  };
}

/** A nonce is remembered for as long as its call could count as fresh by either clock. */
function seenCalls(clock: Clock, file: string | undefined): SeenNonces {
  const log = loggerFor('SignedCalls');
  let told = false;
  const onProblem = (error: unknown): void => {
    if (told) return;
    told = true;
    log.warn('signed calls cannot be saved, so they are forgotten when this program stops', { file, error });
  };
  return new SeenNonces(2 * MAX_CLOCK_DIFFERENCE_MS, file === undefined ? null : { file, nowMs: clock.now().getTime(), onProblem });
}
