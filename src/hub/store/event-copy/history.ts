import type { Position } from '../../../kernel/position.js';
import type { EventStore, RecordedEvent } from '../event-store/event-store.port.js';

const BATCH_EVENTS = 2_000;

interface Batch {
  readonly events: readonly RecordedEvent[];
  /** The reader is done with the events; the subscription delivers the next ones. */
  done(): void;
}

/** All events of a store up to a position, in order and in batches. @param head null: an empty store @throws errors of the subscription */
export async function* historyOf(store: EventStore, head: Position | null): AsyncGenerator<readonly RecordedEvent[]> {
  if (head === null) return;
  let deliver: (batch: Batch) => void = () => undefined;
  let next = new Promise<Batch>((resolve) => (deliver = resolve));
  let reached: Position = '';
  const subscription = store.subscribeToAll({
    after: null,
    batchSize: BATCH_EVENTS,
    handle: async ({ events, upTo }) => {
      reached = upTo;
      await new Promise<void>((done) => {
        deliver({ events, done });
      });
    },
  });
  const ended = subscription.ended.then((): Batch => {
    throw new Error('the event store ended the subscription');
  });
  ended.catch(() => undefined);
  let batch: Batch | undefined;
  try {
    while (reached < head) {
      batch = await Promise.race([next, ended]);
      next = new Promise<Batch>((resolve) => (deliver = resolve));
      yield batch.events.filter(({ position }) => position <= head);
      batch.done();
    }
  } finally {
    const closed = subscription.close();
    batch?.done();
    await closed;
  }
}
