import { createHash, type Hash } from 'node:crypto';
import { canonicalJson } from '../../../lib/http/canonical-json.js';
import type { RecordedEvent } from '../event-store/event-store.port.js';

/** Everything that a copy of an event keeps, as canonical JSON: all but the position, which belongs to the store. */
export function eventText({ id, stream, revision, type, data, metadata, recordedAt }: RecordedEvent): string {
  return canonicalJson({ id, stream, revision, type, data, metadata, recorded_at: recordedAt });
}

/** A digest of a history: of all its events, in order. */
export class EventDigest {
  constructor(
    private readonly hash: Hash = createHash('sha256'),
    private added = 0,
  ) {}

  get count(): number {
    return this.added;
  }

  add(events: readonly RecordedEvent[]): void {
    for (const event of events) this.hash.update(eventText(event)).update('\n');
    this.added += events.length;
  }

  /** An independent digest of the same events so far. */
  fork(): EventDigest {
    return new EventDigest(this.hash.copy(), this.added);
  }

  /** `sha256:<hex>` of the events so far. */
  toString(): string {
    return `sha256:${this.hash.copy().digest('hex')}`;
  }
}
