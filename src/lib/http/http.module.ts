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

/** How long a call that shows no valid token waits for its refusal, in milliseconds. A provider of `() => number`; without it there is no delay. */
export const REFUSAL_DELAY = Symbol('REFUSAL_DELAY');

export interface HttpOptions {
  readonly imports?: ModuleMetadata['imports'];
  /** Where signed calls are remembered beyond the end of the program; without it they are not. */
  readonly seenCallsFile?: string;
}

/** What the HTTP parts of a program have beyond those that all share. */
export interface HttpProgram {
  readonly callsHere: CallDirection;
  /** Around each handler, in this order, after the command of the request was named. */
  readonly interceptors?: readonly Type[];
  readonly translate?: ErrorTranslation;
  readonly providers?: readonly Provider[];
}

/** Guard, filter and interceptors of every HTTP program here; use `configureHttp` with it. Needs ACCESS_TOKENS from a global module or from `imports`. */
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
