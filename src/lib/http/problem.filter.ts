import { type ArgumentsHost, Catch, type ExceptionFilter, Inject, Logger, NotFoundException } from '@nestjs/common';
import type { Request, Response } from 'express';
import { ERROR_TRANSLATION, type ErrorTranslation, problemAnswerOf, sendProblem } from './problem.js';
import { pathOf, requestState } from './request-state.js';
import { UnroutedRequests } from './unrouted-requests.js';

/** Converts everything thrown while serving a request into problem details (RFC 9457). */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger('Http');

  constructor(
    private readonly unrouted: UnroutedRequests,
    @Inject(ERROR_TRANSLATION) private readonly translate: ErrorTranslation,
  ) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<Request>();
    const response = http.getResponse<Response>();
    const { correlationId } = requestState(request);
    const path = pathOf(request.originalUrl);
    const answer = problemAnswerOf(isUnrouted(thrown, request) ? this.unrouted.problem(request) : thrown, { path, correlationId }, this.translate);
    if (answer.unexpected) {
      const stack = thrown instanceof Error ? thrown.stack : String(thrown);
      this.logger.error(`${request.method} ${path}: unexpected error (correlation id ${correlationId})`, stack);
    }
    if (response.headersSent) {
      // Part of the answer is already sent; only cutting the connection can tell the client that it is incomplete.
      response.destroy();
      return;
    }
    sendProblem(response, answer);
  }
}

/** Nest reports this with an exception like any handler's; only the message distinguishes them. */
function isUnrouted(thrown: unknown, request: Request): boolean {
  return thrown instanceof NotFoundException && thrown.message === `Cannot ${request.method} ${request.originalUrl}`;
}
