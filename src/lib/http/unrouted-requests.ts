import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { NextFunction, Request, Response } from 'express';
import { ERROR_TRANSLATION, type ErrorTranslation, HttpProblem, problemAnswerOf, sendProblem, shortened } from './problem.js';
import { pathOf, requestState } from './request-state.js';

/** The parts of Express 5's router that its type declarations leave out. */
interface ExpressRouting {
  readonly router: {
    readonly stack: readonly { match(path: string): boolean; readonly route?: { readonly stack: readonly { readonly method: string | undefined }[] } }[];
  };
}

/** What answers a request that no route took: 404, or 405 where the path exists for other methods. */
@Injectable()
export class UnroutedRequests implements OnApplicationBootstrap {
  private readonly logger = new Logger('Http');

  constructor(
    private readonly adapterHost: HttpAdapterHost,
    @Inject(ERROR_TRANSLATION) private readonly translate: ErrorTranslation,
  ) {}

  /** Nest answers only below its global prefix, so the rest is answered here; at bootstrap, after everything that anyone has mounted. */
  onApplicationBootstrap(): void {
    this.adapterHost.httpAdapter.use((request: Request, response: Response) => {
      const { correlationId } = requestState(request);
      sendProblem(response, problemAnswerOf(this.problem(request), { path: pathOf(request.originalUrl), correlationId }));
    });
    // The last resort, where answering itself has failed: Express would send a page with the stack.
    this.adapterHost.httpAdapter.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
      const { correlationId } = requestState(request);
      this.logger.error(`${request.method} ${pathOf(request.originalUrl)}: could not be answered (correlation id ${correlationId})`, error);
      if (response.headersSent) response.destroy();
      else sendProblem(response, problemAnswerOf(error, { path: shortened(pathOf(request.originalUrl)), correlationId }, this.translate));
    });
  }

  problem(request: Request): HttpProblem {
    const path = pathOf(request.originalUrl);
    const allowed = this.methodsOf(path);
    if (allowed.length === 0) return new HttpProblem(404, 'route_not_found', `There is no route ${request.method} ${path}.`);
    const allow = allowed.join(', ');
    return new HttpProblem(405, 'method_not_allowed', `${path} does not take ${request.method}; it takes ${allow}.`, { allowed }, { Allow: allow });
  }

  private methodsOf(path: string): string[] {
    // The adapter's instance is typed any; the programs here run on Express 5 only.
    const { router } = this.adapterHost.httpAdapter.getInstance<ExpressRouting>();
    const methods = new Set<string>();
    for (const layer of router.stack) {
      if (!layer.route || !layer.match(path)) continue;
      for (const { method } of layer.route.stack) if (method !== undefined) methods.add(method.toUpperCase());
    }
    if (methods.has('GET')) methods.add('HEAD');
    return [...methods].sort();
  }
}
