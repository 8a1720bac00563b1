import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request, Response } from 'express';
import { from, type Observable, switchMap } from 'rxjs';
import { hasReached, type Position } from '../../../kernel/position.js';
import { EventStore } from '../../store/event-store/event-store.port.js';
import { ReadModels } from '../../store/postgres/read-models.js';
import { type HttpProblem, validationProblem } from '../../../lib/http/problem.js';
import { requestState } from '../../../lib/http/request-state.js';

/** Reports the position a command has reached. The client passes it as `?after=` to read its own write. */
export function answerPosition(response: Response, position: Position | null): void {
  if (position !== null) response.set('ETag', `"${position}"`);
}

/** Delays a GET with `?after=<position>` until the read models have reached that position. */
@Injectable()
export class OwnWritesInterceptor implements NestInterceptor {
  constructor(
    private readonly readModels: ReadModels,
    private readonly store: EventStore,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const { after } = requestState(context.switchToHttp().getRequest<Request>());
    if (after === null) return next.handle();
    return from(this.reach(after)).pipe(switchMap(() => next.handle()));
  }

  private async reach(after: Position): Promise<void> {
    if (this.readModels.isForeign(after)) throw refused('its events have been moved to another store since this one');
    const reached = [...this.readModels.positions().values()].some((at) => hasReached(at, after));
    if (!reached && after > ((await this.store.head()) ?? '')) throw refused('the hub has not reached this one');
    await this.readModels.waitFor(after);
  }
}

function refused(why: string): HttpProblem {
  return validationProblem([{ field: 'after', rule: 'position', message: `after must be a position issued by this hub; ${why}` }]);
}
