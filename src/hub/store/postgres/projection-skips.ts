import { asDomainEvent } from '../event-store/command-runner.js';
import { areComparable } from '../../../kernel/position.js';
import type { EventStore, RecordedEvent } from '../event-store/event-store.port.js';
import { type ProjectionEventSkipped, projectionStream } from './projection-skips.events.js';

export type SkippedEvent = ProjectionEventSkipped['data'] & { readonly skipped_by: string };

/** The events that operators let one projection skip. */
export class ProjectionSkips {
  static readonly none = new ProjectionSkips([]);

  private readonly ids: ReadonlySet<string>;

  constructor(readonly events: readonly SkippedEvent[]) {
    this.ids = new Set(events.map(({ event_id }) => event_id));
  }

  /** @throws EventStoreUnavailableError */
  static async load(store: EventStore, projection: string): Promise<ProjectionSkips> {
    const events: SkippedEvent[] = [];
    for await (const recorded of store.read(projectionStream(projection))) {
      events.push({ ...asDomainEvent<ProjectionEventSkipped>(recorded).data, skipped_by: recorded.metadata.actor });
    }
    return new ProjectionSkips(events);
  }

  /**
   * Whether the event itself was skipped. It stays skipped even if a newer version could fold it, so that every rebuild produces the same rows. Its id is
   * compared, because it has another position after the events were moved to another store.
   */
  has(event: RecordedEvent): boolean {
    return this.ids.has(event.id);
  }

  /** Whether an earlier event of the same stream was skipped. An event that cannot be folded for lack of it must not halt the projection again. */
  explains(event: RecordedEvent): boolean {
    return this.events.some(({ stream, position }) => stream === event.stream && (!areComparable(position, event.position) || position < event.position));
  }
}
