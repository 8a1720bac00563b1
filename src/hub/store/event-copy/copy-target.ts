import type { CopyState } from '../event-store/copy-state.js';
import type { EventStore, RecordedEvent } from '../event-store/event-store.port.js';

/** A store that is being filled with the events of another one. */
export interface CopyTarget {
  readonly store: EventStore;
  /**
   * Adds events to the end of the store, with their ids, revisions and record times. After a crash in the middle the store holds the first of them.
   * @param count events in the store before
   * @throws Error if the store holds others than these
   */
  write(events: readonly RecordedEvent[], count: number): Promise<void>;
  /** Lasting; a hub does not start on a store whose copy is unfinished. */
  mark(state: CopyState): Promise<void>;
}
