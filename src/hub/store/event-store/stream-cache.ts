import type { Decider } from '../../../kernel/decider.js';
import type { DomainEvent } from '../../../kernel/event.js';
import type { Position } from '../../../kernel/position.js';
import type { RecordedEvent } from './event-store.port.js';

/** Maximum number of streams kept folded; the least recently used is evicted. */
const MAX_STREAMS = 256;
/** Number of commands per stream whose events are kept, so that a repetition is answered without reading the stream again. */
const MAX_RECENT_COMMANDS = 128;

/** How to fold a stream: the same for all its commands, whichever decider they use. */
export type Folding<State, Event extends DomainEvent> = Pick<Decider<State, never, Event>, 'initialState' | 'evolve' | 'carriedOverBy'>;

/**
 * A stream folded as far as it was read. It grows only by `apply`, one event at a time, so several readers may feed it concurrently.
 *
 * All commands since `knownFrom` are remembered: the newest with the events they wrote, older ones by a fingerprint. A matching fingerprint may be a
 * coincidence, so the stream must be read to be certain; a fingerprint that does not match proves that the command is new. A stream whose state is
 * carried over forgets the commands before the last but one event that carried it, both in memory and after a start. This bounds the reading and the
 * memory.
 */
export class FoldedStream<State, Event extends DomainEvent> {
  state: State;
  /** null: the stream does not exist. */
  revision: number | null = null;
  position: Position | null = null;
  /** Revision from which commands are remembered. */
  knownFrom = 0;
  private carriedOverAt = 0;
  private readonly recent = new Map<string, Event[]>();
  private older = new Set<number>();
  /** Fingerprints from before the last time the state was carried over. */
  private oldest = new Set<number>();

  constructor(private readonly folding: Folding<State, Event>) {
    this.state = folding.initialState;
  }

  /** Revision to continue reading at. A stream that was never read starts at an event that holds its whole state, or at its first event. */
  get next(): number {
    return (this.revision ?? -1) + 1;
  }

  /** Skips everything before this revision. Valid only if the event there holds the whole state. */
  beginAt(revision: number): void {
    if (this.revision !== null || revision === 0) return;
    this.revision = revision - 1;
    this.knownFrom = revision;
    this.carriedOverAt = revision;
  }

  /** Applies the next event of the stream; an event that was already applied is ignored. @throws errors of `evolve`, without any change */
  apply(recorded: RecordedEvent, event: Event): void {
    const { next } = this;
    if (recorded.revision < next) return;
    if (recorded.revision > next) throw new Error(`stream ${recorded.stream}: read revision ${recorded.revision}, but ${next} comes next`);
    this.state = this.folding.evolve(this.state, event);
    this.revision = recorded.revision;
    this.position = recorded.position;
    // The event adds no facts, and the other events of its command may be from before `knownFrom`.
    if (event.type === this.folding.carriedOverBy) this.forgetOldest(recorded.revision);
    else this.remember(recorded.metadata.$causationId, event);
  }

  /** Returns the events a command wrote, or none if it is new; `forgotten` if only reading the stream can tell. */
  writtenBy(commandId: string): readonly Event[] | 'forgotten' {
    const print = fingerprint(commandId);
    return this.recent.get(commandId) ?? (this.older.has(print) || this.oldest.has(print) ? 'forgotten' : []);
  }

  private forgetOldest(carriedOverAt: number): void {
    if (carriedOverAt === this.carriedOverAt) return;
    this.knownFrom = this.carriedOverAt;
    this.carriedOverAt = carriedOverAt;
    this.oldest = this.older;
    this.older = new Set();
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

/** The most recently used folded streams. Callers with the same `evolve` share them: each slice of a context has a decider of its own. */
export class StreamCache {
  private readonly streams = new Map<string, { readonly evolve: unknown; readonly folded: object }>();

  get<State, Event extends DomainEvent>(stream: string, folding: Folding<State, Event>): FoldedStream<State, Event> {
    const cached = this.streams.get(stream);
    this.streams.delete(stream);
    // `evolve` proves the types: an entry is only created and found with the same function.
    const folded = cached?.evolve === folding.evolve ? (cached.folded as FoldedStream<State, Event>) : new FoldedStream(folding);
    this.streams.set(stream, { evolve: folding.evolve, folded });
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

/** The last 52 bits of a UUID, random in every version in use here; a number cannot hold more of it exactly. */
function fingerprint(commandId: string): number {
  return Number.parseInt(commandId.replaceAll('-', '').slice(-13), 16);
}
