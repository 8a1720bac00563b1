import { readFileSync } from 'node:fs';
import { type AllStreamSubscription, EventStoreDBClient, jsonEvent, START, type StreamingRead, streamNameFilter } from '@eventstore/db-client';
import { ServerFeaturesClient } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { JsonObject } from '../../../../kernel/json.js';
import type { Position } from '../../../../kernel/position.js';
import { type EventStoreDbUrl, parseEventStoreDbUrl } from '../../../../lib/config/eventstoredb-url.js';
import {
  AppendTooLargeError,
  type EventMetadata,
  EventStoreUnavailableError,
  type EventToAppend,
  type ExpectedRevision,
  type RecordedEvent,
  WrongExpectedRevisionError,
} from '../event-store.port.js';
import type { CopyState } from '../copy-state.js';
import { decodePair, encodePair, type PositionPair } from './position-pair.js';
import { describeFailure, failureOf } from './store-failure.js';

export interface EventStoreDbOptions {
  /** `esdb://` or `esdb+discover://`, with credentials. Never logged. */
  readonly url: string;
  /** File with the certificates of the authority that signed the server's; empty: those of the system. */
  readonly caFile: string;
  /** How long to wait for an answer, in milliseconds. Default 5,000. */
  readonly answerMs?: number;
}

export interface ServerFacts {
  readonly version: string;
  /** Seconds by which the server's clock is ahead; null: it did not say its time. Exact to a second. */
  readonly clockAheadSeconds: number | null;
}

/** An append was answered with nothing that says whether it was stored. `NotLeader` says that it was not. */
export class AppendUnansweredError extends EventStoreUnavailableError {
  constructor(
    message: string,
    readonly notStored: boolean,
    options: ErrorOptions,
  ) {
    super(message, options);
  }
}

const ANSWER_MS = 5_000;
/** Ignored by a server without TLS. */
const ANONYMOUS = { username: 'none', password: 'none' };
const COPY_STREAM = 'sendense-copy';
const KEEPALIVE_MS = 10_000;
/** How long a member of a cluster may take to name the leader, before another is asked. */
const GOSSIP_SECONDS = 2;
/** Events that the server considers before it reports its progress to a subscription. */
const CHECKPOINT_EVENTS = 2_000;
/** Streams of the server itself begin with `$`. */
const OUR_STREAMS = '^[^$]';
/** First and further page when looking backwards for the newest event of ours among events of the server. */
const HEAD_PAGE = 16;
const HEAD_PAGES = 1_024;

/** The client, with access to the server's features and the date of its answers. */
class Client extends EventStoreDBClient {
  facts(deadlineMs: number): Promise<ServerFacts> {
    return this.execute(
      ServerFeaturesClient,
      'getSupportedMethods',
      (client) =>
        new Promise((resolve, reject) => {
          let date: string | undefined;
          const [metadata, options] = this.callArguments({ deadline: deadlineMs });
          const call = client.getSupportedMethods(new shared.Empty(), metadata, options, (error, answer) => {
            // grpc-js passes its own error class.
            if (error !== null) reject(error);
            else resolve({ version: answer.getEventStoreServerVersion(), clockAheadSeconds: secondsAhead(date) });
          });
          call.on('metadata', (headers) => (date = headers.get('date')[0]?.toString()));
        }),
    );
  }
}

/**
 * Calls of EventStoreDB with a time limit of our own, errors of the port, and positions as text. Every call asks the leader, because followers answer with
 * what they have. After an answer failed to arrive the client is replaced, since it would keep its connection to a frozen server.
 */
export class EventStoreDbConnection {
  private readonly target: EventStoreDbUrl;
  private readonly answerMs: number;
  private readonly certificates: Buffer | undefined;
  private client: Client | null = null;
  private answeredAtMs = 0;
  private isClosed = false;

  /** @throws RangeError if the URL is invalid; errors of `fs` if the certificates cannot be read */
  constructor({ url, caFile, answerMs = ANSWER_MS }: EventStoreDbOptions) {
    this.target = parseEventStoreDbUrl(url);
    this.answerMs = answerMs;
    this.certificates = caFile === '' ? undefined : readFileSync(caFile);
  }

  /** Host names and ports, without credentials. */
  get name(): string {
    return this.target.hosts.map(({ address, port }) => `${address}:${port}`).join(', ');
  }

  /**
   * One attempt.
   * @param inOrder store appends in the order of the calls, although others are under way; if one of them fails, all in this process may fail, and none has a
   * deadline at the server
   * @throws WrongExpectedRevisionError, AppendTooLargeError, AppendUnansweredError
   */
  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventToAppend[],
    bytes: number,
    inOrder = false,
  ): Promise<{ revision: number; position: Position }> {
    const client = this.connect();
    try {
      const result = await this.within(
        client,
        client.appendToStream(
          stream,
          // The port's types allow only JSON.
          events.map(({ id, type, data, metadata }) => jsonEvent({ id, type, data, metadata: { ...metadata } })),
          {
            expectedRevision: typeof expected === 'number' ? BigInt(expected) : expected,
            requiresLeader: true,
            deadline: this.answerMs,
            // With credentials the client uses the plain call, otherwise one stream of the server for all appends.
            ...(inOrder ? {} : { credentials: this.target.credentials ?? ANONYMOUS }),
          },
        ),
      );
      const revision = Number(result.nextExpectedRevision);
      return { revision, position: result.position === undefined ? await this.positionOf(stream, revision) : encodePair(result.position) };
    } catch (error) {
      switch (failureOf(error)) {
        case 'conflict':
          throw new WrongExpectedRevisionError(stream, expected, actualOf(error));
        case 'too_large':
          throw new AppendTooLargeError(stream, bytes);
        case 'bad_input':
          throw new Error(`stream ${stream}: EventStoreDB refused the append: ${describeFailure(error)}`, { cause: error });
        case 'not_leader':
          throw new AppendUnansweredError(this.awayMessage(error), true, { cause: error });
        case 'missing_stream':
        case 'refused':
        case 'away':
          throw new AppendUnansweredError(this.awayMessage(error), false, { cause: error });
      }
    }
  }

  /** Events of one stream; none if it does not exist. @throws EventStoreUnavailableError */
  read(stream: string, from: number | 'end', direction: 'forwards' | 'backwards', limit: number): AsyncGenerator<RecordedEvent> {
    return this.each((client) =>
      client.readStream(stream, {
        fromRevision: from === 'end' ? 'end' : BigInt(from),
        direction,
        maxCount: Number.isFinite(limit) ? limit : Number.MAX_SAFE_INTEGER,
        requiresLeader: true,
      }),
    );
  }

  /** Position of our newest event, read backwards past events of the server. @param known the answer if there is none after it */
  async newest(known: Position | null): Promise<Position | null> {
    let from: PositionPair | 'end' = 'end';
    for (let maxCount = HEAD_PAGE; ; maxCount = HEAD_PAGES) {
      const page = { fromPosition: from, direction: 'backwards', maxCount, requiresLeader: true } as const;
      let count = 0;
      for await (const { stream, position } of this.each((client) => client.readAll(page))) {
        count += 1;
        if (known !== null && position <= known) return known;
        if (!stream.startsWith('$')) return position;
        from = decodePair(position);
      }
      if (count < maxCount) return known;
    }
  }

  /**
   * All events after a position, filtered by the server: a superset of the categories, or everything that is not the server's own.
   * @param onCheckpoint called with positions up to which everything was considered
   */
  subscribe(after: Position | null, categories: readonly string[] | undefined, onCheckpoint: (position: Position) => void): AllStreamSubscription {
    const checkpoints = {
      maxSearchWindow: CHECKPOINT_EVENTS,
      checkpointInterval: 1,
      checkpointReached: (_: unknown, position: PositionPair): void => {
        onCheckpoint(encodePair(position));
      },
    };
    return this.connect().subscribeToAll({
      fromPosition: after === null ? START : decodePair(after),
      requiresLeader: true,
      filter:
        categories === undefined ? streamNameFilter({ ...checkpoints, regex: OUR_STREAMS }) : streamNameFilter({ ...checkpoints, prefixes: [...categories] }),
    });
  }

  /** @throws EventStoreUnavailableError */
  async facts(): Promise<ServerFacts> {
    const client = this.connect();
    try {
      return await this.within(client, client.facts(this.answerMs));
    } catch (error) {
      throw this.unavailable(error);
    }
  }

  unavailable(error: unknown): EventStoreUnavailableError {
    return error instanceof EventStoreUnavailableError ? error : new EventStoreUnavailableError(this.awayMessage(error), { cause: error });
  }

  /** Marks the store as a copy of another one, in the metadata of a stream that has no events, so that the history stays as it is. @throws EventStoreUnavailableError */
  async markCopy(copy: CopyState): Promise<void> {
    const client = this.connect();
    const options = { requiresLeader: true, deadline: this.answerMs, credentials: this.target.credentials ?? ANONYMOUS };
    try {
      await this.within(client, client.setStreamMetadata(COPY_STREAM, { copy }, options));
    } catch (error) {
      throw this.unavailable(error);
    }
  }

  /** As of the last `markCopy`; null: the store is no copy. @throws EventStoreUnavailableError */
  async copyState(): Promise<CopyState | null> {
    for await (const { data } of this.read(`$$${COPY_STREAM}`, 'end', 'backwards', 1)) return data['copy'] === 'unfinished' ? 'unfinished' : 'complete';
    return null;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.client?.dispose();
  }

  private connect(): Client {
    if (this.isClosed) throw new EventStoreUnavailableError('the connection to EventStoreDB is closed');
    if (this.client === null) {
      const { hosts, discover, tls, credentials } = this.target;
      const channel = tls ? { insecure: false, ...(this.certificates === undefined ? {} : { rootCertificate: this.certificates }) } : { insecure: true };
      const common = { keepAliveInterval: KEEPALIVE_MS, keepAliveTimeout: this.answerMs, defaultDeadline: this.answerMs, connectionName: 'sendense' };
      const [first] = hosts;
      if (first === undefined) throw new RangeError('eventstoredb_url names no host');
      const discovery = { gossipTimeout: GOSSIP_SECONDS, nodePreference: 'leader' as const };
      if (discover) this.client = new Client({ ...common, ...discovery, discover: first }, channel, credentials ?? undefined);
      else if (hosts.length > 1) this.client = new Client({ ...common, ...discovery, endpoints: [...hosts] }, channel, credentials ?? undefined);
      else this.client = new Client({ ...common, endpoint: first }, channel, credentials ?? undefined);
    }
    return this.client;
  }

  /** An answer, or an error after the time limit. */
  private async within<Answer>(client: Client, answer: Promise<Answer>): Promise<Answer> {
    const startedAtMs = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.replace(client, startedAtMs);
        reject(new Error(`no answer within ${this.answerMs} ms`));
      }, this.answerMs);
    });
    try {
      const value = await Promise.race([answer, late]);
      this.answeredAtMs = performance.now();
      return value;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives up a client whose server has answered nothing at all since a call began. */
  replace(client: EventStoreDBClient | null, sinceMs: number): void {
    if (this.client !== client || client === null || this.answeredAtMs > sinceMs) return;
    this.client = null;
    client.dispose().catch(() => undefined);
  }

  /** Yields one by one what a read delivers, and always ends the call. */
  private async *each(open: (client: Client) => StreamingRead<{ event?: ReadEvent | undefined }>): AsyncGenerator<RecordedEvent> {
    const client = this.connect();
    const reading = open(client);
    let waitingSinceMs: number | null = null;
    const timer = setInterval(() => {
      if (waitingSinceMs === null || performance.now() - waitingSinceMs < this.answerMs) return;
      this.replace(client, waitingSinceMs);
      reading.destroy(new Error(`no answer within ${this.answerMs} ms`));
    }, this.answerMs / 4);
    // Without a listener an error after the last read would end the process.
    reading.on('error', () => undefined);
    try {
      const events = reading[Symbol.asyncIterator]();
      for (;;) {
        waitingSinceMs = performance.now();
        const next = await events.next();
        waitingSinceMs = null;
        this.answeredAtMs = performance.now();
        if (next.done === true) {
          // A read that was cut because its client was replaced ends like a complete one.
          if (this.client !== client) throw new Error('the connection was replaced during a read');
          return;
        }
        if (next.value.event !== undefined) yield recordedOf(next.value.event);
      }
    } catch (error) {
      if (failureOf(error) === 'missing_stream') return;
      throw this.unavailable(error);
    } finally {
      clearInterval(timer);
      // Not awaited: while the client still looks for a server this never settles.
      reading.cancel().catch(() => undefined);
    }
  }

  private async positionOf(stream: string, revision: number): Promise<Position> {
    for await (const event of this.read(stream, revision, 'forwards', 1)) return event.position;
    throw new Error(`stream ${stream}: revision ${revision} was stored but is not there`);
  }

  private awayMessage(error: unknown): string {
    return `the event store (EventStoreDB at ${this.name}) cannot be used at the moment: ${describeFailure(error)}`;
  }
}

/** Member of the metadata in which a copied event has its record time at the store that it comes from; the server sets its own. */
export const RECORDED_AT = '$recordedAt';

/** The members of the client's event that the port needs. */
export interface ReadEvent {
  readonly id: string;
  readonly streamId: string;
  readonly revision: bigint;
  readonly type: string;
  readonly data: unknown;
  readonly metadata?: unknown;
  readonly created: Date;
  readonly position?: PositionPair | undefined;
}

export function recordedOf(event: ReadEvent): RecordedEvent {
  if (event.position === undefined) throw new Error(`stream ${event.streamId}: revision ${event.revision} came without a position`);
  // Events of ours were appended as JSON objects; those of the server are only skipped.
  const { [RECORDED_AT]: copiedFrom, ...metadata } = (event.metadata ?? {}) as JsonObject;
  return {
    id: event.id,
    stream: event.streamId,
    revision: Number(event.revision),
    position: encodePair(event.position),
    type: event.type,
    data: event.data as JsonObject,
    metadata: metadata as unknown as EventMetadata,
    recordedAt: typeof copiedFrom === 'string' ? copiedFrom : event.created.toISOString(),
  };
}

function actualOf(error: unknown): number | null {
  const actual: unknown = typeof error === 'object' && error !== null && 'actualVersion' in error ? error.actualVersion : null;
  return typeof actual === 'bigint' ? Number(actual) : null;
}

function secondsAhead(date: string | undefined): number | null {
  const time = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isNaN(time) ? null : Math.round((time - Date.now()) / 1000);
}
