import type { DynamicModule } from '@nestjs/common';
import { HttpModule, type HttpOptions, REFUSAL_DELAY } from '../../../lib/http/http.module.js';
import { HubConfig } from '../../hub.config.js';
import { AsOfInterceptor } from './as-of.interceptor.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';
import { OwnWritesInterceptor } from './own-writes.interceptor.js';
import { storeProblemOf } from './store-problems.js';
import { StreamLimitsInterceptor } from './stream-limits.js';

/** Besides serving HTTP, the hub records commands (EventStore, HUB_ID) and lets clients read their own writes (ReadModels); all come from global modules. */
export function hubHttpModule(options: HttpOptions = {}): DynamicModule {
  return HttpModule.of(
    {
      callsHere: 'to_hub',
      interceptors: [StreamLimitsInterceptor, IdempotencyInterceptor, OwnWritesInterceptor, AsOfInterceptor],
      translate: storeProblemOf,
      providers: [
        {
          provide: REFUSAL_DELAY,
          inject: [{ token: HubConfig, optional: true }],
          // Read at each refusal, because a reload may change it.
          useFactory: (config?: HubConfig) => () => config?.refusedTokenDelayMs ?? 0,
        },
      ],
    },
    options,
  );
}
