import { type CallHandler, createParamDecorator, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request } from 'express';
import type { Observable } from 'rxjs';
import type { CommandContext } from '../../kernel/command-context.js';
import { derivedId, Ids } from '../clock/clock.js';
import { validationProblem } from './problem.js';
import { pathOf, requestState } from './request-state.js';

const VISIBLE_ASCII = /^[\x21-\x7e]{1,200}$/;
const COMMAND_METHODS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

/** Handler parameter of type CommandContext: id of the command, correlation id and actor of the request. */
export const Context = createParamDecorator((_: unknown, context: ExecutionContext): CommandContext => {
  return commandContextOf(context.switchToHttp().getRequest<Request>());
});

/** @throws Error when the CommandContextInterceptor has not run */
export function commandContextOf(request: Request): CommandContext {
  const context = requestState(request).commandContext;
  if (!context) throw new Error('the request has no command context: CommandContextInterceptor is not installed');
  return context;
}

export function isCommandRequest(request: Request): boolean {
  return COMMAND_METHODS.has(request.method);
}

/** The Idempotency-Key of a command; null without one. @throws HttpProblem 400 when it is not 1 to 200 visible ASCII characters */
export function idempotencyKeyOf(request: Request): string | null {
  const key = request.headers['idempotency-key'];
  if (key === undefined || !isCommandRequest(request)) return null;
  if (typeof key !== 'string' || !VISIBLE_ASCII.test(key)) {
    throw validationProblem([
      { field: 'Idempotency-Key', rule: 'visible_ascii', message: 'Idempotency-Key must be 1 to 200 visible ASCII characters, given once' },
    ]);
  }
  return key;
}

/** Assigns each request its command id: the same Idempotency-Key on the same route by the same actor always yields the same id. */
@Injectable()
export class CommandContextInterceptor implements NestInterceptor {
  constructor(private readonly ids: Ids) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<Request>();
    const state = requestState(request);
    const key = idempotencyKeyOf(request);
    const commandId = key === null ? this.ids.next() : derivedId(`${state.actor}\n${request.method}\n${pathOf(request.originalUrl)}\n${key}`);
    state.commandContext = { commandId, correlationId: state.correlationId, actor: state.actor };
    return next.handle();
  }
}
