import type { DomainEvent } from '../../../kernel/event.js';

/** Stream of what operators decided about one projection. */
export function projectionStream(name: string): string {
  return `projection-${name}`;
}

/** An operator lets a projection go on without an event that it cannot fold; rebuilds leave the event out too. */
export type ProjectionEventSkipped = DomainEvent<
  'ProjectionEventSkipped',
  {
    readonly projection: string;
    /** Of the event that is left out. */
    readonly position: string;
    readonly event_id: string;
    readonly event_type: string;
    readonly stream: string;
    /** Why the projection could not fold it. */
    readonly error: string;
    /** The operator's own words. */
    readonly reason: string;
    readonly skipped_at: string;
  }
>;
