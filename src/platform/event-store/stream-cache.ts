import type { Decider } from '../../kernel/decider.js';
import type { DomainEvent } from '../../kernel/event.js';
import type { Position, RecordedEvent } from './event-store.port.js';

/** Streams kept folded at most; the one used longest ago gives way. */
const MAX_STREAMS = 256;
/** Commands of a stream whose events are kept, so that a repetition is answered without reading the stream again. */
const MAX_RECENT_COMMANDS = 128;

/**
 * One stream folded as far as it was read. It grows only by `apply`, one event after the other, so several readers may feed it at once.
 *
 * Every command the stream has ever seen is remembered, because a stream enters the cache by being folded from its first event: the newest
 * with the events they wrote, the older ones by a 28-bit fingerprint. A fingerprint that matches may be a coincidence, so it only says that the
 * stream has to be read to know; one that does not match is proof that the command is new.
 */
export class FoldedStream<State, Event extends DomainEvent> {
  state: State;
  /** null: the stream does not exist. */
  revision: number | null = null;
  position: Position | null = null;
  private readonly recent = new Map<string, Event[]>();
  private readonly older = new Set<number>();

  constructor(private readonly decider: Decider<State, never, Event>) {
    this.state = decider.initialState;
  }

  /** Takes the next event of the stream; one that was taken before is ignored. @throws what `evolve` throws, and is then unchanged */
  apply(recorded: RecordedEvent, event: Event): void {
    const next = (this.revision ?? -1) + 1;
    if (recorded.revision < next) return;
    if (recorded.revision > next) throw new Error(`stream ${recorded.stream}: read revision ${recorded.revision}, but ${next} comes next`);
    this.state = this.decider.evolve(this.state, event);
    this.revision = recorded.revision;
    this.position = recorded.position;
    this.remember(recorded.metadata.$causationId, event);
  }

  /** The events a command wrote, none if it is new; `forgotten` when only reading the stream can tell. */
  writtenBy(commandId: string): readonly Event[] | 'forgotten' {
    return this.recent.get(commandId) ?? (this.older.has(fingerprint(commandId)) ? 'forgotten' : []);
  }

  private remember(commandId: string, event: Event): void {
    const written = this.recent.get(commandId);
    if (written !== undefined) {
      written.push(event);
      return;
    }
    this.recent.set(commandId, [event]);
    if (this.recent.size > MAX_RECENT_COMMANDS) {
      const [oldest] = this.recent.keys();
      if (oldest === undefined) return;
      this.recent.delete(oldest);
      this.older.add(fingerprint(oldest));
    }
  }
}

/** The folded streams used last. A stream folded by one decider is not served to another. */
export class StreamCache {
  private readonly streams = new Map<string, { readonly decider: object; readonly folded: object }>();

  get<State, Event extends DomainEvent>(stream: string, decider: Decider<State, never, Event>): FoldedStream<State, Event> {
    const cached = this.streams.get(stream);
    this.streams.delete(stream);
    // The decider is the witness of the types: an entry is only ever made, and found again, with the same decider object.
    const folded = cached?.decider === decider ? (cached.folded as FoldedStream<State, Event>) : new FoldedStream(decider);
    this.streams.set(stream, { decider, folded });
    if (this.streams.size > MAX_STREAMS) {
      const [oldest] = this.streams.keys();
      if (oldest !== undefined) this.streams.delete(oldest);
    }
    return folded;
  }

  forget(stream: string): void {
    this.streams.delete(stream);
  }
}

/** The last 28 bits of a UUID, random in every version in use here; small enough for the engine to keep them unboxed. */
function fingerprint(commandId: string): number {
  return Number.parseInt(commandId.slice(-7), 16);
}
