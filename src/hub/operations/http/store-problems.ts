import { defectDetail, HttpProblem } from '../../../lib/http/problem.js';
import { EventRejectedError } from '../../store/event-store/checked-event-store.js';
import { AppendTooLargeError, EventStoreUnavailableError, TermOverError, WrongExpectedRevisionError } from '../../store/event-store/event-store.port.js';
import { isDatabaseAway } from '../../store/postgres/connection-errors.js';

/** Maps errors of the event store or the database to the hub's answer; null: the error has another cause. */
export function storeProblemOf(error: unknown): HttpProblem | null {
  if (error instanceof EventStoreUnavailableError || isDatabaseAway(error)) {
    return new HttpProblem(503, 'storage_unavailable', 'The storage cannot be reached at the moment; repeat the request.');
  }
  if (error instanceof TermOverError) {
    return new HttpProblem(503, 'hub_superseded', 'Another hub has taken over, and this one stops; repeat the request at the active hub.');
  }
  if (error instanceof WrongExpectedRevisionError) {
    return new HttpProblem(503, 'stream_contended', 'Too many concurrent changes to the same object; repeat the request.');
  }
  if (error instanceof AppendTooLargeError) {
    const detail = `The events of this request have ${error.bytes} bytes, which exceeds the limit of one event store append; split the request.`;
    return new HttpProblem(422, 'append_too_large', detail, { bytes: error.bytes });
  }
  if (error instanceof EventRejectedError) {
    const detail = defectDetail('The read models cannot hold the events of this request, so nothing was recorded. This is a defect.');
    return new HttpProblem(500, 'event_rejected', detail);
  }
  return null;
}
