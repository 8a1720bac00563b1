import type { Decider } from '../../../kernel/decider.js';
import type { DomainEvent } from '../../../kernel/event.js';
import type { Position } from '../../../kernel/position.js';
import type { RecordedEvent } from './event-store.port.js';

/** Streams kept folded at most; the one used longest ago gives way. */
const MAX_STREAMS = 256;
/** Commands of a stream whose events are kept, so that a repetition is answered without reading the stream again. */
const MAX_RECENT_COMMANDS = 128;

/** What folds a stream: the same for all commands of it, whatever decides them. */
export type Folding<State, Event extends DomainEvent> = Pick<Decider<State, never, Event>, 'initialState' | 'evolve' | 'carriedOverBy'>;

/**
 * One stream folded as far as it was read. It grows only by `apply`, one event after the other, so several readers may feed it at once.
 *
 * Every command since `knownFrom` is remembered: the newest with the events they wrote, the older ones by a fingerprint. A fingerprint that matches
 * may be a coincidence, so it only says that the stream has to be read to know; one that does not match is proof that the command is new. A stream
 * whose state is carried over forgets the commands before the last event but one that carried it, in memory as after a start: both it and memory are bounded.
 */
export class FoldedStream<State, Event extends DomainEvent> {
  state: State;
  /** null: the stream does not exist. */
  revision: number | null = null;
  position: Position | null = null;
  /** Revision from which on commands are remembered. */
  knownFrom = 0;
  private carriedOverAt = 0;
  private readonly recent = new Map<string, Event[]>();
  private older = new Set<number>();
  /** Fingerprints from before the state was carried over last. */
  private oldest = new Set<number>();

  constructor(private readonly folding: Folding<State, Event>) {
    this.state = folding.initialState;
  }

  /** Where to read on from; a stream that was never read begins at an event that holds its whole state, or at its first. */
  get next(): number {
    return (this.revision ?? -1) + 1;
  }

  /** Leaves out what is before this revision. Only where the event there holds the whole state. */
  beginAt(revision: number): void {
    if (this.revision !== null || revision === 0) return;
    this.revision = revision - 1;
    this.knownFrom = revision;
    this.carriedOverAt = revision;
  }

  /** Takes the next event of the stream; one that was taken before is ignored. @throws what `evolve` throws, and is then unchanged */
  apply(recorded: RecordedEvent, event: Event): void {
    const { next } = this;
    if (recorded.revision < next) return;
    if (recorded.revision > next) throw new Error(`stream ${recorded.stream}: read revision ${recorded.revision}, but ${next} comes next`);
    this.state = this.folding.evolve(this.state, event);
    this.revision = recorded.revision;
    this.position = recorded.position;
    // It says nothing new, and the rest of what its command wrote may be from before `knownFrom`.
    if (event.type === this.folding.carriedOverBy) this.forgetOldest(recorded.revision);
    else this.remember(recorded.metadata.$causationId, event);
  }

  /** The events a command wrote, none if it is new; `forgotten` when only reading the stream can tell. */
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

/** The folded streams used last. Whatever folds a stream by the same `evolve` shares it: the slices of a context each decide by a decider of their own. */
export class StreamCache {
  private readonly streams = new Map<string, { readonly evolve: unknown; readonly folded: object }>();

  get<State, Event extends DomainEvent>(stream: string, folding: Folding<State, Event>): FoldedStream<State, Event> {
    const cached = this.streams.get(stream);
    this.streams.delete(stream);
    // `evolve` is the witness of the types: an entry is only ever made, and found again, with the same function.
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

/** The last 52 bits of a UUID, random in every version in use here: a number holds no more of it exactly. */
function fingerprint(commandId: string): number {
  return Number.parseInt(commandId.replaceAll('-', '').slice(-13), 16);
}
