import { retry } from '../../../lib/concurrency/retry.js';
import type { CopyState } from '../event-store/copy-state.js';
import { EventStoreUnavailableError, type RecordedEvent } from '../event-store/event-store.port.js';
import { RECORDED_AT } from '../event-store/eventstoredb/eventstoredb-connection.js';
import type { EventStoreDbEventStore } from '../event-store/eventstoredb/eventstoredb-event-store.js';
import type { CopyTarget } from './copy-target.js';
import { runsOf } from './runs.plan.js';

/** How long to wait for a server that cannot be used, such as a cluster without a leader. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 250;

/**
 * Many appends are under way at once, in the order of the history; consecutive events of a stream share one. The store gives every event a record time of its
 * own, so the original one is in the metadata.
 */
export class EventStoreDbCopyTarget implements CopyTarget {
  /** After an error the client loses answers of appends that are under way together. */
  private mayOverlap = true;

  constructor(readonly store: EventStoreDbEventStore) {}

  async write(events: readonly RecordedEvent[]): Promise<void> {
    const appends = [...runsOf(events)].map(({ events: run, ...place }) => ({
      ...place,
      events: run.map(({ id, type, data, metadata, recordedAt }) => ({ id, type, data, metadata: { ...metadata, [RECORDED_AT]: recordedAt } })),
    }));
    if (this.mayOverlap) {
      try {
        await this.store.appendInOrder(appends);
        return;
      } catch (error) {
        if (!(error instanceof EventStoreUnavailableError)) throw error;
        this.mayOverlap = false;
      }
    }
    // At an exact revision the same ids are written once.
    for (const { stream, expected, events: run } of appends) await this.patiently(() => this.store.append(stream, expected, run));
  }

  async mark(state: CopyState): Promise<void> {
    await this.patiently(() => this.store.markCopy(state));
  }

  private async patiently(call: () => Promise<unknown>): Promise<void> {
    const endsMs = performance.now() + PATIENCE_MS;
    const onFailure = (error: unknown): void => {
      if (!(error instanceof EventStoreUnavailableError) || performance.now() > endsMs) throw error;
    };
    await retry(call, { firstMs: RETRY_MS, onFailure });
  }
}
