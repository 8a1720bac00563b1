import { defectDetail, HttpProblem } from '../../../lib/http/problem.js';
import { EventRejectedError } from '../../store/event-store/checked-event-store.js';
import { AppendTooLargeError, EventStoreUnavailableError, WrongExpectedRevisionError } from '../../store/event-store/event-store.port.js';
import { isDatabaseAway } from '../../store/postgres/connection-errors.js';

/** What the hub answers when the event store or the database refuses or fails; null: the error has another cause. */
export function storeProblemOf(error: unknown): HttpProblem | null {
  if (error instanceof EventStoreUnavailableError || isDatabaseAway(error)) {
    return new HttpProblem(503, 'storage_unavailable', 'The storage cannot be reached just now; repeat the request.');
  }
  if (error instanceof WrongExpectedRevisionError) {
    return new HttpProblem(503, 'stream_contended', 'Too many other changes were made to the same thing at the same time; repeat the request.');
  }
  if (error instanceof AppendTooLargeError) {
    const detail = `What this request would record has ${error.bytes} bytes, over the limit of one event store append; ask for less at once.`;
    return new HttpProblem(422, 'append_too_large', detail, { bytes: error.bytes });
  }
  if (error instanceof EventRejectedError) {
    const detail = defectDetail('What this request would record cannot be shown by the read models, so nothing was recorded. This is a defect.');
    return new HttpProblem(500, 'event_rejected', detail);
  }
  return null;
}
