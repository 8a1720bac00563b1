import type { Position } from '../../../kernel/position.js';
import type { EventStore, RecordedEvent } from './event-store.port.js';

const BATCH_EVENTS = 1_000;

interface Arrival {
  readonly events: readonly RecordedEvent[];
  readonly upTo: Position;
}

/** Reads all events up to a position, in order, in batches; the next is read when the consumer asks for it. @throws if the store is closed meanwhile */
export async function* readAll(store: EventStore, until: Position | null): AsyncGenerator<readonly RecordedEvent[], void, undefined> {
  if (until === null) return;
  let arrived = Promise.withResolvers<Arrival>();
  let handled = Promise.withResolvers<void>();
  const subscription = store.subscribeToAll({
    after: null,
    batchSize: BATCH_EVENTS,
    handle: (batch) => {
      arrived.resolve(batch);
      return handled.promise;
    },
  });
  const ended = subscription.ended.then(() => Promise.reject(new Error('the event store was closed')));
  ended.catch(() => undefined);
  try {
    for (;;) {
      const { events, upTo } = await Promise.race([arrived.promise, ended]);
      yield events.filter(({ position }) => position <= until);
      if (upTo >= until) return;
      arrived = Promise.withResolvers<Arrival>();
      const { resolve } = handled;
      handled = Promise.withResolvers<void>();
      resolve();
    }
  } finally {
    handled.resolve();
    await subscription.close();
  }
}
