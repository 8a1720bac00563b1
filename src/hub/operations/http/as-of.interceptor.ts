import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request, Response } from 'express';
import { from, type Observable, switchMap } from 'rxjs';
import { normalisedInstant } from '../../../kernel/instant.js';
import { isPosition } from '../../../kernel/position.js';
import { validationProblem } from '../../../lib/http/problem.js';
import { type PastInstant, requestState } from '../../../lib/http/request-state.js';
import { PastInstants } from '../../store/postgres/past-instants.js';
import { ReadModels } from '../../store/postgres/read-models.js';
import { cursorDiffers, instantOfCursor, positionsOfCursor } from './cursor-page.js';

/** Headers that say which instant an answer stands for. */
export const AS_OF_POSITION_HEADER = 'As-Of-Position';
export const AS_OF_TIME_HEADER = 'As-Of-Time';

/** Lets a GET with `?as_of=<time or position>`, or with the cursor of a page that had it, read the read models as of that instant. */
@Injectable()
export class AsOfInterceptor implements NestInterceptor {
  constructor(
    private readonly instants: PastInstants,
    private readonly readModels: ReadModels,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<Request>();
    const { cursor } = request.query;
    const ofCursor = typeof cursor === 'string' ? instantOfCursor(cursor) : null;
    if (typeof cursor === 'string' && positionsOfCursor(cursor).some((position) => this.readModels.isForeign(position))) throw cursorDiffers();
    const { asOf } = requestState(request);
    if (asOf === null && ofCursor === null) return next.handle();
    const settle = async (): Promise<void> => {
      const instant = await findInstant(this.instants, 'as_of', asOf ?? ofCursor ?? '');
      if (cursor !== undefined && ofCursor !== instant.position) throw cursorDiffers();
      requestState(request).instant = instant;
      const response = context.switchToHttp().getResponse<Response>();
      if (instant.position !== null) response.set(AS_OF_POSITION_HEADER, instant.position);
      response.set(AS_OF_TIME_HEADER, instant.time);
    };
    return from(settle()).pipe(switchMap(() => next.handle()));
  }
}

/** The instant that a query parameter names, as a time or a position. @throws HttpProblem 400; as `PastInstants` */
export async function findInstant(instants: PastInstants, field: string, value: string): Promise<PastInstant> {
  const time = normalisedInstant(value);
  if (time === null && !isPosition(value)) {
    throw validationProblem([
      { field, rule: 'instant_or_position', message: `${field} must be an RFC 3339 date and time, such as 2026-11-21T10:30:00Z, or a position` },
    ]);
  }
  if (time === null && instants.isForeign(value)) {
    const message = `${field} must be a position issued by this hub; its events have been moved to another store since this one, so pass a time`;
    throw validationProblem([{ field, rule: 'position', message }]);
  }
  const instant = time === null ? await instants.atPosition(value) : await instants.atTime(time);
  if (instant === null) throw validationProblem([{ field, rule: 'not_in_future', message: `${field} must not be in the future` }]);
  return instant;
}
