import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request, Response } from 'express';
import { from, type Observable, switchMap } from 'rxjs';
import type { Position } from '../event-store/event-store.port.js';
import { ReadModels } from '../postgres/read-models.js';
import { requestState } from './request-state.js';

/** How long a reader waits for its own write, in milliseconds, before it gets 503 `read_model_behind`. */
export const OWN_WRITES_PATIENCE_MS = 5_000;

const POSITION = /^[A-Za-z0-9._:/-]{1,64}$/;

/** Whether a text has the form of a position; also accepts none that the store never gave, which is then waited for in vain. */
export function isPosition(text: string): boolean {
  return POSITION.test(text);
}

/** Says to which position a command has brought the store: its client passes this as `?after=` to read its own write. */
export function answerPosition(response: Response, position: Position | null): void {
  if (position !== null) response.set('ETag', `"${position}"`);
}

/** Holds a GET with `?after=<position>` back until the read models stand there. */
@Injectable()
export class OwnWritesInterceptor implements NestInterceptor {
  constructor(private readonly readModels: ReadModels) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const { after } = requestState(context.switchToHttp().getRequest<Request>());
    if (after === null) return next.handle();
    return from(this.readModels.waitFor(after, OWN_WRITES_PATIENCE_MS)).pipe(switchMap(() => next.handle()));
  }
}
