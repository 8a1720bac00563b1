import { Inject, Injectable, Optional } from '@nestjs/common';
import type { CommandContext } from '../../../kernel/command-context.js';
import type { Decider } from '../../../kernel/decider.js';
import type { DomainEvent } from '../../../kernel/event.js';
import { Clock, derivedId } from '../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../lib/concurrency/keyed-mutex.js';
import type { Position } from '../../../kernel/position.js';
import { EventStore, EventStoreUnavailableError, type RecordedEvent, WrongExpectedRevisionError } from './event-store.port.js';
import { type FoldedStream, StreamCache } from './stream-cache.js';

/** Injection token of the hub's id (a UUID, kept in the hub's data directory). */
export const HUB_ID = Symbol('HUB_ID');

/** Injection token: how long a request waits for an unavailable store, in milliseconds. Default 10,000. */
export const ASKED_PATIENCE_MS = Symbol('ASKED_PATIENCE_MS');

export interface CommandOutcome<State, Event extends DomainEvent> {
  readonly state: State;
  /** Events written by this command or, if it is repeated, by its first run; empty when there was nothing to do. */
  readonly events: readonly Event[];
  /** Position of the newest event of the stream; null: the stream is empty. */
  readonly position: Position | null;
}

export interface LoadedStream<State> {
  readonly state: State;
  /** null: the stream does not exist. */
  readonly revision: number | null;
  readonly position: Position | null;
}

/** How often a command is decided again after another writer was faster. */
const MAX_CONFLICTS = 20;
/** How long to wait for an unavailable store before a command is given up, in milliseconds: for commands of the hub itself, and for requests. */
const UNAVAILABLE_PATIENCE_MS = 60_000;
const DEFAULT_ASKED_PATIENCE_MS = 10_000;
const OF_THE_HUB = 'system:';
const UNAVAILABLE_PAUSE_MS = 250;
/** Number of events searched for one that holds the whole state. Streams that carry their state over do so more often. */
const CARRIED_OVER_WITHIN = 4_000;

/**
 * Load, evolve, decide, append at the exact revision. A command whose id is already in the stream is not decided again, so any command may be repeated,
 * even after a crash. After a conflict the command is decided again; the runner waits for an unavailable store.
 *
 * Recently used streams stay folded in memory, and only newer events are read before every command. So events of other writers are always seen, and a
 * long stream costs no more than a short one. An endless stream is folded from an event that holds its whole state (`Decider.carriedOverBy`), also
 * after a start. Commands before the last but one such event are not remembered; for them the deciders must decide from the state alone and do no harm.
 */
@Injectable()
export class CommandRunner {
  private readonly cache = new StreamCache();
  private readonly perStream = new KeyedMutex();

  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
    @Inject(HUB_ID) private readonly hubId: string,
    @Optional() @Inject(ASKED_PATIENCE_MS) private readonly askedPatienceMs = DEFAULT_ASKED_PATIENCE_MS,
  ) {}

  /** Folds a stream up to its newest event. @throws EventStoreUnavailableError */
  async load<State, Command, Event extends DomainEvent>(stream: string, decider: Decider<State, Command, Event>): Promise<LoadedStream<State>> {
    const { state, revision, position } = await this.fold(stream, decider);
    return { state, revision, position };
  }

  /**
   * Runs one command against one stream.
   * @throws DomainError from `decide`; WrongExpectedRevisionError after too many conflicts; EventStoreUnavailableError when the store stays away
   */
  async run<State, Command, Event extends DomainEvent>(
    stream: string,
    decider: Decider<State, Command, Event>,
    command: Command,
    context: CommandContext,
  ): Promise<CommandOutcome<State, Event>> {
    const patienceEnds = performance.now() + (context.actor.startsWith(OF_THE_HUB) ? UNAVAILABLE_PATIENCE_MS : this.askedPatienceMs);
    for (let conflicts = 0; ;) {
      try {
        // A hundred jobs write to the single stream of the ports. One after the other they never conflict; concurrently some would lose every round.
        return await this.perStream.runExclusive(stream, () => this.attempt(stream, decider, command, context));
      } catch (error) {
        if (error instanceof WrongExpectedRevisionError) {
          // A stream that is shorter than what was read belongs to another store (it was replaced), so the folded state is invalid.
          if (typeof error.expected === 'number' && error.expected > (error.actual ?? -1)) this.cache.forget(stream);
          if (++conflicts < MAX_CONFLICTS) continue;
        }
        if (error instanceof EventStoreUnavailableError && performance.now() < patienceEnds) {
          await new Promise((resolve) => setTimeout(resolve, UNAVAILABLE_PAUSE_MS));
          continue;
        }
        throw error;
      }
    }
  }

  private async attempt<State, Command, Event extends DomainEvent>(
    stream: string,
    decider: Decider<State, Command, Event>,
    command: Command,
    context: CommandContext,
  ): Promise<CommandOutcome<State, Event>> {
    const folded = await this.fold(stream, decider);
    // Copied now, because another command may feed the folded stream while this one waits.
    const loaded: LoadedStream<State> = { state: folded.state, revision: folded.revision, position: folded.position };
    const remembered = folded.writtenBy(context.commandId);
    const written = remembered === 'forgotten' ? await this.readWritten(stream, decider, folded.knownFrom, context.commandId) : remembered;
    if (written.length > 0) return { state: loaded.state, events: [...written], position: loaded.position };

    const events = decider.decide(command, loaded.state);
    if (events.length === 0) return { state: loaded.state, events, position: loaded.position };
    const time = this.clock.iso();
    const result = await this.store.append(
      stream,
      loaded.revision ?? 'no_stream',
      events.map((event, index) => ({
        id: derivedId(`${context.commandId}/${stream}/${index}`),
        type: event.type,
        data: event.data,
        metadata: {
          $correlationId: context.correlationId,
          $causationId: context.commandId,
          actor: context.actor,
          hub_id: this.hubId,
          schema_version: 1,
          time,
        },
      })),
    );
    return { state: events.reduce((state, event) => decider.evolve(state, event), loaded.state), events, position: result.position };
  }

  private async fold<State, Command, Event extends DomainEvent>(stream: string, decider: Decider<State, Command, Event>): Promise<FoldedStream<State, Event>> {
    const folded = this.cache.get(stream, decider);
    if (folded.revision === null && decider.carriedOverBy !== undefined) folded.beginAt(await this.carriedOver(stream, decider.carriedOverBy));
    for await (const recorded of this.store.read(stream, { from: folded.next })) {
      folded.apply(recorded, asDomainEvent<Event>(recorded));
    }
    return folded;
  }

  /** Revision of the last but one event that holds the whole state, so that at least the commands between the two are known; 0: read from the beginning. */
  private async carriedOver(stream: string, type: string): Promise<number> {
    let newest: number | null = null;
    let lookedAt = 0;
    for await (const { type: found, revision } of this.store.read(stream, { direction: 'backwards', limit: CARRIED_OVER_WITHIN })) {
      lookedAt += 1;
      if (found !== type) continue;
      if (newest !== null) return revision;
      newest = revision;
    }
    // A short stream is read completely; a long one whose state was carried over for the first time is read from there.
    return lookedAt < CARRIED_OVER_WITHIN ? 0 : (newest ?? 0);
  }

  /** For a command whose events are no longer in memory. */
  private async readWritten<State, Command, Event extends DomainEvent>(
    stream: string,
    { carriedOverBy }: Decider<State, Command, Event>,
    from: number,
    commandId: string,
  ): Promise<readonly Event[]> {
    const written: Event[] = [];
    for await (const recorded of this.store.read(stream, { from })) {
      if (recorded.metadata.$causationId === commandId && recorded.type !== carriedOverBy) written.push(asDomainEvent<Event>(recorded));
    }
    return written;
  }
}

/** The caller names the event union of the stream; `evolve` throws on an unknown type. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller chooses the union, as with any deserialiser
export function asDomainEvent<Event extends DomainEvent>(recorded: RecordedEvent): Event {
  return { type: recorded.type, data: recorded.data } as Event;
}
