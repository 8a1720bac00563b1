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

/** Answers requests that no route accepted: 404, or 405 when the path exists for other methods. */
@Injectable()
export class UnroutedRequests implements OnApplicationBootstrap {
  private readonly logger = new Logger('Http');

  constructor(
    private readonly adapterHost: HttpAdapterHost,
    @Inject(ERROR_TRANSLATION) private readonly translate: ErrorTranslation,
  ) {}

  /** Nest answers only below its global prefix; everything else is answered here. Installed at bootstrap, after all other middleware. */
  onApplicationBootstrap(): void {
    this.adapterHost.httpAdapter.use((request: Request, response: Response) => {
      const { correlationId } = requestState(request);
      sendProblem(response, problemAnswerOf(this.problem(request), { path: pathOf(request.originalUrl), correlationId }));
    });
    // Last resort when answering itself fails: Express would send a page with the stack.
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
    return new HttpProblem(405, 'method_not_allowed', `${path} does not accept ${request.method}; it accepts ${allow}.`, { allowed }, { Allow: allow });
  }

  private methodsOf(path: string): string[] {
    // The adapter's instance is typed any; all programs here run on Express 5.
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
