import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request, Response } from 'express';
import { from, type Observable, switchMap } from 'rxjs';
import type { Position } from '../../../kernel/position.js';
import { EventStore } from '../../store/event-store/event-store.port.js';
import { ReadModels } from '../../store/postgres/read-models.js';
import { validationProblem } from '../../../lib/http/problem.js';
import { requestState } from '../../../lib/http/request-state.js';

/** How long a reader waits for its own write, in milliseconds, before it gets 503 `read_model_behind`. */
export const OWN_WRITES_PATIENCE_MS = 5_000;

/** Says to which position a command has brought the store: its client passes this as `?after=` to read its own write. */
export function answerPosition(response: Response, position: Position | null): void {
  if (position !== null) response.set('ETag', `"${position}"`);
}

/** Holds a GET with `?after=<position>` back until the read models stand there. */
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
    const reached = [...this.readModels.positions().values()].some((at) => at !== null && at >= after);
    if (!reached && after > ((await this.store.head()) ?? '')) {
      throw validationProblem([{ field: 'after', rule: 'position', message: 'after must be a position that the hub has given; it has not come so far' }]);
    }
    await this.readModels.waitFor(after, OWN_WRITES_PATIENCE_MS);
  }
}
