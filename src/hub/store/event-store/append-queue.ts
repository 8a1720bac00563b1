import { DatabaseError, type Pool } from 'pg';
import { isConnectionError } from '../postgres/connection-errors.js';
import { type AppendResult, EventStoreUnavailableError, type ExpectedRevision, TermOverError, WrongExpectedRevisionError } from './event-store.port.js';
import { encodePosition } from './position-encoding.js';
import type { SerialisedAppend } from './storable-event.js';

interface Waiting {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  readonly events: SerialisedAppend;
  resolve(result: AppendResult): void;
  reject(error: unknown): void;
}

interface OutcomeRow {
  readonly request: number;
  readonly outcome: 'written' | 'idempotent' | 'conflict';
  readonly at_revision: number | null;
  readonly at_position: string | null;
}

/** SQLSTATE of `event_store.append` for a term that is over. */
const TERM_OVER = 'SE001';
const MAX_BATCH_APPENDS = 256;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/**
 * The store's lock serializes commits, so appends that arrive during a commit are collected and share the next transaction and its fsync.
 * Each append has its own outcome: a conflict is a row of the answer, not a failure of the transaction.
 */
export class AppendQueue {
  private waiting: Waiting[] = [];
  private running = false;

  /** @param term returns the caller's term of the hub lease; null: it appends without being a hub */
  constructor(
    private readonly pool: Pool,
    private readonly term: () => number | null,
  ) {}

  append(stream: string, expected: ExpectedRevision, events: SerialisedAppend): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ stream, expected, events, resolve, reject });
      if (!this.running) {
        this.running = true;
        void this.drain();
      }
    });
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0) {
      // One turn of the event loop lets callers that just got their answer join this transaction with their next append.
      await new Promise((resolve) => setImmediate(resolve));
      await this.write(this.takeBatch());
    }
    this.running = false;
  }

  private takeBatch(): readonly Waiting[] {
    let count = 0;
    for (let bytes = 0; count < this.waiting.length && count < MAX_BATCH_APPENDS; count++) {
      bytes += this.waiting[count]?.events.bytes ?? 0;
      if (count > 0 && bytes > MAX_BATCH_BYTES) break;
    }
    return this.waiting.splice(0, count);
  }

  private async write(batch: readonly Waiting[]): Promise<void> {
    try {
      const requests = batch.map(({ stream, expected, events }) => `{"stream":${JSON.stringify(stream)},"expected":"${expected}","events":${events.json}}`);
      // The promise settles after the server has reported the end of the implicit transaction, so every answer is committed.
      const { rows } = await this.pool.query<OutcomeRow>({
        name: 'event_store_append',
        text: 'select request, outcome, at_revision, at_position from event_store.append($1::jsonb, $2::bigint)',
        values: [`[${requests.join(',')}]`, this.term()],
      });
      const byRequest = new Map(rows.map((row) => [row.request, row]));
      batch.forEach((one, index) => {
        settle(one, byRequest.get(index));
      });
    } catch (error) {
      if (isConnectionError(error)) {
        for (const one of batch) one.reject(new EventStoreUnavailableError('the event store cannot be reached at the moment', { cause: error }));
      } else if (error instanceof DatabaseError && error.code === TERM_OVER) {
        for (const one of batch) one.reject(new TermOverError(error.message, { cause: error }));
      } else if (batch.length === 1) {
        for (const one of batch) one.reject(error);
      } else {
        // One of the appends broke the statement for all, so each is written alone to get its own outcome.
        for (const one of batch) await this.write([one]);
      }
    }
  }
}

function settle(one: Waiting, row: OutcomeRow | undefined): void {
  if (row === undefined) {
    one.reject(new Error(`stream ${one.stream}: the store returned no outcome for an append`));
  } else if (row.outcome === 'conflict' || row.at_revision === null || row.at_position === null) {
    one.reject(new WrongExpectedRevisionError(one.stream, one.expected, row.at_revision));
  } else {
    one.resolve({ revision: row.at_revision, position: encodePosition(row.at_position), idempotent: row.outcome === 'idempotent' });
  }
}
