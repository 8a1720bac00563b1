import { retry } from '../../../lib/concurrency/retry.js';
import { type EventStore, EventStoreUnavailableError, type RecordedEvent } from '../event-store/event-store.port.js';
import { RECORDED_AT } from '../event-store/eventstoredb/eventstoredb-connection.js';
import type { CopyTarget } from './copy-target.js';
import { runsOf } from './runs.plan.js';

/** How long to wait for a server that cannot be used, such as a cluster without a leader. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 250;

/**
 * One append at a time, because the order of the store is the order of the appends; consecutive events of a stream share one. The store gives every event a
 * record time of its own, so the original one is in the metadata.
 */
export class EventStoreDbCopyTarget implements CopyTarget {
  constructor(readonly store: EventStore) {}

  async write(events: readonly RecordedEvent[]): Promise<void> {
    for (const { stream, expected, events: run } of runsOf(events)) {
      const appended = run.map(({ id, type, data, metadata, recordedAt }) => ({ id, type, data, metadata: { ...metadata, [RECORDED_AT]: recordedAt } }));
      const endsMs = performance.now() + PATIENCE_MS;
      const onFailure = (error: unknown): void => {
        if (!(error instanceof EventStoreUnavailableError) || performance.now() > endsMs) throw error;
      };
      // At an exact revision the same ids are written once.
      await retry(() => this.store.append(stream, expected, appended), { firstMs: RETRY_MS, onFailure });
    }
  }
}
