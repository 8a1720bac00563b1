import type { Position } from '../../../kernel/position.js';
import type { EventStore, RecordedEvent } from './event-store.port.js';

const BATCH_EVENTS = 2_000;

interface Batch {
  readonly events: readonly RecordedEvent[];
  /** The reader is done with the events; the subscription delivers the next ones. */
  done(): void;
}

/**
 * The events that a store holds between two positions, in order and in batches; the next batch is read when the consumer asks for it.
 * @param head null: an empty store @throws errors of the subscription; Error if the store is closed meanwhile
 */
export async function* historyOf(store: EventStore, after: Position | null, head: Position | null): AsyncGenerator<readonly RecordedEvent[]> {
  if (head === null) return;
  let next = waiter();
  let reached: Position = after ?? '';
  const subscription = store.subscribeToAll({
    after,
    batchSize: BATCH_EVENTS,
    storedOnly: true,
    handle: async ({ events, upTo }) => {
      reached = upTo;
      await new Promise<void>((done) => {
        next.resolve({ events, done });
      });
    },
  });
  const onEnd = (error: unknown = new Error('the event store ended the subscription')): void => next.reject(error);
  subscription.ended.then(() => onEnd(), onEnd);
  let batch: Batch | undefined;
  try {
    while (reached < head) {
      batch = await next.promise;
      next = waiter();
      yield batch.events.filter(({ position }) => position <= head);
      batch.done();
    }
  } finally {
    const closed = subscription.close();
    batch?.done();
    await closed;
  }
}

/** A promise for each batch: a race with the end of the subscription would keep all batches in memory. */
function waiter(): PromiseWithResolvers<Batch> {
  const made = Promise.withResolvers<Batch>();
  made.promise.catch(() => undefined);
  return made;
}
