import type { DomainEvent } from '../../../kernel/event.js';

/** Stream of the operators' decisions about one projection. */
export function projectionStream(name: string): string {
  return `projection-${name}`;
}

/** An operator lets a projection continue without an event that it cannot fold; rebuilds skip the event too. */
export type ProjectionEventSkipped = DomainEvent<
  'ProjectionEventSkipped',
  {
    readonly projection: string;
    /** Position of the skipped event. */
    readonly position: string;
    readonly event_id: string;
    readonly event_type: string;
    readonly stream: string;
    /** Why the projection could not fold it. */
    readonly error: string;
    /** As entered by the operator. */
    readonly reason: string;
    readonly skipped_at: string;
  }
>;
