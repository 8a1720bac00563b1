import { ValidationPipe, type ValidationError } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';
import { Ids } from '../clock/clock.js';
import { runWithCorrelation } from '../logging/correlation.js';
import { HttpMetrics } from './http-metrics.js';
import { type FieldError, type HttpProblem, validationProblem } from './problem.js';
import { NodeCredentials } from '../signed-calls/node-credentials.js';
import { answerParserErrors } from './parser-errors.js';
import { dropUnreadBody, readSignedBody } from './request-body.js';
import { checkUrl, setSafeHeaders } from './request-hygiene.js';
import { proveAnswers } from './answer-proof.js';
import { beginRequest, runInRequest } from './request-state.js';
import { isUuid } from '../../kernel/uuid.js';

export const API_PREFIX = 'api/v1';

export interface HttpOptions {
  /** Prefix of all controllers, without a leading slash. Default `api/v1`. */
  readonly prefix?: string;
}

/**
 * Sets up everything about HTTP that is not a provider: prefix, correlation, limits, URL and body checks, validation. Call it right after creating the
 * application and before `init` or `listen`. The application must import HttpModule.
 */
export function configureHttp(app: NestExpressApplication, options: HttpOptions = {}): void {
  const ids = app.get(Ids, { strict: false });
  const metrics = app.get(HttpMetrics, { strict: false });
  app.disable('x-powered-by');
  // Express would answer conditional GETs by a hash of the body; here an ETag is a position in the event store.
  app.disable('etag');
  // In production mode Express's own error answers contain no stack.
  app.set('env', 'production');
  app.setGlobalPrefix(options.prefix ?? API_PREFIX);

  app.use((request: Request, response: Response, next: NextFunction) => {
    const given = request.headers['x-correlation-id'];
    const correlationId = isUuid(given) ? given.toLowerCase() : ids.next();
    const state = beginRequest(request, correlationId);
    response.set('X-Correlation-Id', correlationId);
    // Every answer is current: a client that already has one gets a full answer, never an empty 304.
    delete request.headers['if-none-match'];
    delete request.headers['if-modified-since'];
    runWithCorrelation(correlationId, () => runInRequest(state, next));
  });
  app.use(metrics.middleware);
  app.use(setSafeHeaders);
  app.use(proveAnswers);
  app.use(checkUrl);
  app.use(dropUnreadBody);
  app.use(readSignedBody(app.get(NodeCredentials, { strict: false })));
  answerParserErrors(app.getHttpServer());

  app.useGlobalPipes(
    new ValidationPipe({
      whitelist: true,
      forbidNonWhitelisted: true,
      transform: true,
      stopAtFirstError: false,
      exceptionFactory: (errors) => validationProblemOf(errors),
    }),
  );
}

function validationProblemOf(errors: readonly ValidationError[]): HttpProblem {
  return validationProblem(errors.flatMap((error) => fieldErrors(error, '')));
}

function fieldErrors(error: ValidationError, parent: string): FieldError[] {
  const field = parent === '' ? error.property : `${parent}.${error.property}`;
  // A missing member breaks all of its rules; report only that it is missing.
  if (error.value === undefined && error.constraints !== undefined && !('whitelistValidation' in error.constraints)) {
    return [{ field, rule: 'is_missing', message: `${field} is missing` }];
  }
  const own = Object.entries(error.constraints ?? {}).map(([rule, message]) => ({
    field,
    rule: ruleName(rule),
    message: withPath(message, error.property, field),
  }));
  return [...own, ...(error.children ?? []).flatMap((child) => fieldErrors(child, field))];
}

/** class-validator's rule names in the API's spelling; `whitelistValidation` would mean nothing to a client. */
function ruleName(rule: string): string {
  if (rule === 'whitelistValidation') return 'unknown_field';
  return rule.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
}

/** Messages start with the bare member name; nested members need their whole path. */
function withPath(message: string, property: string, field: string): string {
  return field !== property && message.startsWith(`${property} `) ? `${field}${message.slice(property.length)}` : message;
}
