import { EventEmitter, once } from 'node:events';
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
} from '@grpc/grpc-js';
import { GossipService } from '@eventstore/db-client/generated/gossip_grpc_pb.js';
import gossip from '@eventstore/db-client/generated/gossip_pb.js';
import { ServerFeaturesService } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import features from '@eventstore/db-client/generated/serverfeatures_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import { StreamsService } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import rpc from '@eventstore/db-client/generated/status_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import { Any } from 'google-protobuf/google/protobuf/any_pb.js';

const { AppendResp, ReadResp } = streams;

/** An event as the server keeps it. Its position is both commit and prepare. */
interface Stored {
  readonly id: string;
  readonly stream: string;
  readonly revision: number;
  readonly position: bigint;
  readonly type: string;
  readonly contentType: string;
  readonly createdTicks: bigint;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
}

/** What the next append goes through; `after` it every further one is answered as usual. */
export type AppendFault =
  /** Stored, and the connection cut before the answer. */
  | 'lose_answer'
  /** Answered with nothing, and stored when `storeLate` is called. */
  | 'store_late'
  | 'not_leader'
  | 'not_ready'
  /** What a server answers whose disk does not take the write. */
  | 'timed_out'
  | 'refused';

export interface StandInOptions {
  /** Default: any free port. */
  readonly port?: number;
  /** Shared by the members of a cluster. */
  readonly log?: StandInLog;
  /** Demands TLS and these credentials. */
  readonly tls?: { readonly key: Buffer; readonly certificate: Buffer; username: string; password: string };
}

const EVENT_BYTES = 128n;
const TICKS_PER_MS = 10_000n;
const MAX_APPEND_BYTES = 1024 * 1024;
const VERSION = '23.10.6.0';

/** All events of a server, in order. */
export class StandInLog extends EventEmitter<{ stored: [] }> {
  readonly events: Stored[] = [];
  private readonly byStream = new Map<string, Stored[]>();
  private next = 0n;

  constructor() {
    super();
    this.setMaxListeners(0);
  }

  of(stream: string): readonly Stored[] {
    return this.byStream.get(stream) ?? [];
  }

  store(stream: string, events: readonly Omit<Stored, 'stream' | 'revision' | 'position' | 'createdTicks'>[]): void {
    const there = this.byStream.get(stream) ?? [];
    this.byStream.set(stream, there);
    for (const event of events) {
      this.next += EVENT_BYTES + BigInt(event.data.length);
      const stored = { ...event, stream, revision: there.length, position: this.next, createdTicks: BigInt(Date.now()) * TICKS_PER_MS };
      there.push(stored);
      this.events.push(stored);
    }
    this.emit('stored');
  }

  /** As the server writes its statistics. */
  storeOwn(count: number): void {
    for (let n = 0; n < count; n++) {
      const id = crypto.randomUUID();
      this.store('$stats-127.0.0.1:2113', [
        { id, type: '$statsCollected', contentType: 'application/json', data: Buffer.from('{}'), metadata: new Uint8Array() },
      ]);
    }
  }
}

/**
 * Speaks as much of EventStoreDB's protocol as the hub's adapter uses, from the definitions in the client's package, and misbehaves on request. Compared with a
 * real server case by case by the contract suite.
 */
export class EventStoreDbStandIn {
  readonly log: StandInLog;
  /** Taken by the next appends, one each. */
  readonly appendFaults: AppendFault[] = [];
  /** Nothing is answered any more, on open connections too. */
  frozen = false;
  /** The number of the last subscription that stays open and delivers nothing more. */
  private silentUpTo = 0;
  /** Where the leader is, if it is not this server. */
  leader: { readonly host: string; readonly port: number } | null = null;
  /** What this server has of the log, if it is a follower that lags behind. */
  lagEvents = 0;
  batchAppends = 0;
  /** The connection is cut at the batch append of this number, from 1; it and the following ones are not stored. */
  cutAtBatchAppend = 0;
  appends = 0;
  /** Reads, of streams and of everything, and subscriptions begun. */
  reads = 0;
  subscriptions = 0;
  port = 0;
  private server: Server | null = null;
  private late: (() => void)[] = [];
  /** The certificate and what it demands; mutable, so that a test can change the password. */
  readonly tls: StandInOptions['tls'];

  private constructor(options: StandInOptions) {
    this.log = options.log ?? new StandInLog();
    this.tls = options.tls;
    this.port = options.port ?? 0;
  }

  static async start(options: StandInOptions = {}): Promise<EventStoreDbStandIn> {
    const standIn = new EventStoreDbStandIn(options);
    await standIn.listen();
    return standIn;
  }

  /** For `eventstoredb_url`. */
  get url(): string {
    return this.tls === undefined
      ? `esdb://127.0.0.1:${this.port}?tls=false`
      : `esdb://${this.tls.username}:${encodeURIComponent(this.tls.password)}@localhost:${this.port}`;
  }

  /** Listens on the port of before. */
  async listen(): Promise<void> {
    const server = new Server({ 'grpc.max_receive_message_length': 4 * 1024 * 1024 });
    server.addService(StreamsService, {
      append: (call: AppendCall, answer: sendUnaryData<streams.AppendResp>) => void this.append(call, answer),
      batchAppend: (call: BatchCall) => {
        call.on('data', (request: streams.BatchAppendReq) => {
          this.batchAppend(call, request);
        });
      },
      read: (call: ReadCall) => void this.read(call),
    });
    server.addService(GossipService, { read: this.gossip });
    server.addService(ServerFeaturesService, { getSupportedMethods: this.features });
    const credentials =
      this.tls === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [{ private_key: this.tls.key, cert_chain: this.tls.certificate }]);
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.port}`, credentials, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
    this.server = server;
  }

  /** Cuts every connection; the log is kept. */
  stop(): void {
    this.server?.forceShutdown();
    this.server = null;
  }

  /** Subscriptions that are open fall silent. */
  silence(): void {
    this.silentUpTo = this.subscriptions;
  }

  /** Stores what appends with the fault `store_late` have sent. */
  storeLate(): void {
    for (const store of this.late.splice(0)) store();
  }

  private async append(call: AppendCall, answer: sendUnaryData<streams.AppendResp>): Promise<void> {
    this.appends += 1;
    const [header, ...proposed] = await requestsOf(call);
    const events = proposed.flatMap((request) => request.getProposedMessage() ?? []).map(proposedEvent);
    const options = header?.getOptions();
    const fault = this.appendFaults.shift();
    if (this.frozen) return;
    if (options === undefined) {
      answer(failure(status.INVALID_ARGUMENT, 'no options'));
      return;
    }
    const refusal = this.refusalOf(call.metadata);
    if (refusal !== null) {
      answer(refusal);
      return;
    }
    const stream = Buffer.from(options.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
    switch (fault) {
      case 'not_leader': {
        answer(notLeader({ host: '127.0.0.1', port: this.port }));
        return;
      }
      case 'not_ready': {
        answer(failure(status.UNAVAILABLE, 'Server Is Not Ready'));
        return;
      }
      case 'timed_out': {
        answer(failure(status.ABORTED, 'Operation timed out: Prepare phase timeout.'));
        return;
      }
      case 'refused': {
        answer(failure(status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' }));
        return;
      }
      case 'store_late':
        this.late.push(() => void this.write(stream, expectedOf(options), events));
        return;
      case 'lose_answer':
        this.write(stream, expectedOf(options), events);
        this.stop();
        await this.listen();
        return;
      case undefined:
    }
    const bytes = events.reduce((sum, { type, data, metadata }) => sum + 2 * type.length + data.length + metadata.length, 0);
    if (bytes > MAX_APPEND_BYTES) {
      const detail = { exception: 'maximum-append-size-exceeded', 'maximum-append-size': String(MAX_APPEND_BYTES) };
      answer(failure(status.INVALID_ARGUMENT, `Maximum Append Size of ${MAX_APPEND_BYTES} Exceeded.`, detail));
      return;
    }
    answer(null, this.write(stream, expectedOf(options), events));
  }

  /** One append of a connection that has many under way, which are stored in their order. */
  private batchAppend(call: BatchCall, request: streams.BatchAppendReq): void {
    this.batchAppends += 1;
    if (this.frozen || call.destroyed || (this.cutAtBatchAppend > 0 && this.batchAppends > this.cutAtBatchAppend)) return;
    if (this.batchAppends === this.cutAtBatchAppend) {
      call.destroy(new Error('cut'));
      return;
    }
    const options = request.getOptions();
    const stream = Buffer.from(options?.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
    const expected = options?.hasStreamPosition() === true ? Number(options.getStreamPosition()) : options?.hasNoStream() === true ? -1 : 'any';
    const written = this.write(stream, expected, request.getProposedMessagesList().map(proposedEvent));
    const answer = new streams.BatchAppendResp();
    answer.setCorrelationId(request.getCorrelationId());
    answer.setStreamIdentifier(options?.getStreamIdentifier());
    if (written.hasSuccess()) {
      const success = new streams.BatchAppendResp.Success();
      success.setCurrentRevision(written.getSuccess()?.getCurrentRevision() ?? '0');
      const position = new shared.AllStreamPosition();
      position.setCommitPosition(written.getSuccess()?.getPosition()?.getCommitPosition() ?? '0');
      position.setPreparePosition(written.getSuccess()?.getPosition()?.getPreparePosition() ?? '0');
      success.setPosition(position);
      answer.setSuccess(success);
    } else {
      const conflict = new shared.WrongExpectedVersion();
      conflict.setCurrentStreamRevision(written.getWrongExpectedVersion()?.getCurrentRevision() ?? '0');
      const details = new Any();
      details.pack(conflict.serializeBinary(), 'event_store.client.WrongExpectedVersion');
      const error = new rpc.Status();
      error.setDetails(details);
      answer.setError(error);
    }
    call.write(answer);
  }

  private write(stream: string, expected: Expected, events: readonly Proposed[]): streams.AppendResp {
    const there = this.log.of(stream);
    const start = typeof expected === 'number' ? expected + 1 : there.findIndex(({ id }) => id === events[0]?.id);
    const repeated = start >= 0 && start < there.length && events.every(({ id }, index) => there[start + index]?.id === id);
    const overlaps = typeof expected !== 'number' && start >= 0;
    const fits = typeof expected === 'number' ? expected === there.length - 1 : (expected === 'any' || there.length > 0) && !overlaps;
    const response = new AppendResp();
    if (!repeated && !fits) {
      const conflict = new AppendResp.WrongExpectedVersion();
      if (there.length === 0) conflict.setCurrentNoStream(new shared.Empty());
      else conflict.setCurrentRevision(String(there.length - 1));
      if (typeof expected !== 'number') conflict.setExpectedAny(new shared.Empty());
      else if (expected === -1) conflict.setExpectedNoStream(new shared.Empty());
      else conflict.setExpectedRevision(String(expected));
      response.setWrongExpectedVersion(conflict);
      return response;
    }
    if (!repeated) this.log.store(stream, events);
    const last = this.log.of(stream)[repeated ? start + events.length - 1 : this.log.of(stream).length - 1];
    const success = new AppendResp.Success();
    if (last === undefined) {
      // An append of nothing to a stream that does not exist.
      success.setNoStream(new shared.Empty());
      success.setNoPosition(new shared.Empty());
    } else {
      const position = new AppendResp.Position();
      position.setCommitPosition(String(last.position));
      position.setPreparePosition(String(last.position));
      success.setCurrentRevision(String(last.revision));
      success.setPosition(position);
    }
    response.setSuccess(success);
    return response;
  }

  private async read(call: ReadCall): Promise<void> {
    // A call that is cancelled has nobody to tell.
    call.on('error', () => undefined);
    const options = call.request.getOptions();
    if (this.frozen || options === undefined) return;
    const refusal = this.refusalOf(call.metadata);
    if (refusal !== null) return void call.emit('error', refusal);
    if (options.hasSubscription()) return this.follow(call, options);
    this.reads += 1;
    const backwards = options.getReadDirection() === streams.ReadReq.Options.ReadDirection.BACKWARDS;
    const visible = this.lagEvents === 0 ? this.log.events : this.log.events.slice(0, -this.lagEvents);
    let found: readonly Stored[];
    const ofStream = options.getStream();
    if (ofStream === undefined) {
      const all = options.getAll();
      const from = BigInt(all?.getPosition()?.getCommitPosition() ?? (all?.hasEnd() === true ? '9223372036854775807' : '0'));
      found = visible.filter(({ position }) => (backwards ? position < from : position >= from));
    } else {
      const stream = Buffer.from(ofStream.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
      const there = visible.filter((event) => event.stream === stream);
      if (there.length === 0) {
        const missing = new ReadResp.StreamNotFound();
        missing.setStreamIdentifier(ofStream.getStreamIdentifier());
        const response = new ReadResp();
        response.setStreamNotFound(missing);
        call.write(response);
        call.end();
        return;
      }
      const from = ofStream.hasRevision() ? Number(ofStream.getRevision()) : ofStream.hasEnd() ? Infinity : 0;
      found = there.filter(({ revision }) => (backwards ? revision <= from : revision >= from));
    }
    const ordered = backwards ? [...found].reverse() : found;
    for (const event of ordered.slice(0, Number(options.getCount()))) {
      if (call.cancelled || this.isFrozen()) return;
      await write(call, eventResponse(event));
    }
    call.end();
  }

  private async follow(call: ReadCall, options: streams.ReadReq.Options): Promise<void> {
    const number = ++this.subscriptions;
    const isSilent = (): boolean => this.frozen || number <= this.silentUpTo;
    const filter = options.getFilter();
    const names = filter?.getStreamIdentifier();
    const prefixes = names?.getPrefixList() ?? [];
    const regex = new RegExp(names?.getRegex() ?? '');
    const wanted = ({ stream }: Stored): boolean => regex.test(stream) && (prefixes.length === 0 || prefixes.some((one) => stream.startsWith(one)));
    const interval = (filter?.getMax() ?? 32) * (filter?.getCheckpointintervalmultiplier() ?? 1);
    const all = options.getAll();
    const after = BigInt(all?.getPosition()?.getCommitPosition() ?? '-1');
    let next = this.log.events.findIndex(({ position }) => position > after);
    if (next === -1) next = this.log.events.length;
    let considered = 0;
    let isLive = false;
    const confirmation = new ReadResp();
    confirmation.setConfirmation(new ReadResp.SubscriptionConfirmation());
    await write(call, confirmation);
    const isOver = (): boolean => call.cancelled;
    while (!isOver()) {
      for (; next < this.log.events.length && !isSilent() && !isOver(); next++) {
        const event = this.log.events[next];
        if (event === undefined) break;
        if (wanted(event)) await write(call, eventResponse(event));
        if (++considered % interval === 0) await write(call, checkpointResponse(event));
      }
      if (!isLive && !isSilent()) {
        isLive = true;
        const caughtUp = new ReadResp();
        caughtUp.setCaughtUp(new ReadResp.CaughtUp());
        await write(call, caughtUp);
      }
      const closed = new AbortController();
      const end = (): void => {
        closed.abort();
      };
      call.once('cancelled', end);
      call.once('close', end);
      if (next >= this.log.events.length || isSilent()) await once(this.log, 'stored', { signal: closed.signal }).catch(() => undefined);
      call.off('cancelled', end);
      call.off('close', end);
      if (closed.signal.aborted) return;
    }
  }

  private readonly gossip = (_: ServerUnaryCall<shared.Empty, gossip.ClusterInfo>, answer: sendUnaryData<gossip.ClusterInfo>): void => {
    if (this.frozen) return;
    const info = new gossip.ClusterInfo();
    const own = { host: '127.0.0.1', port: this.port };
    for (const { host, port } of this.leader === null ? [own] : [own, this.leader]) {
      const endPoint = new gossip.EndPoint();
      endPoint.setAddress(host);
      endPoint.setPort(port);
      const member = new gossip.MemberInfo();
      member.setInstanceId(new shared.UUID());
      member.setIsAlive(true);
      member.setHttpEndPoint(endPoint);
      const isLeader = this.leader === null || port === this.leader.port;
      member.setState(isLeader ? gossip.MemberInfo.VNodeState.LEADER : gossip.MemberInfo.VNodeState.FOLLOWER);
      info.addMembers(member);
    }
    answer(null, info);
  };

  private readonly features = (call: ServerUnaryCall<shared.Empty, features.SupportedMethods>, answer: sendUnaryData<features.SupportedMethods>): void => {
    if (this.frozen) return;
    const refusal = this.refusalOf(call.metadata);
    if (refusal !== null) {
      answer(refusal);
      return;
    }
    const methods = new features.SupportedMethods();
    methods.setEventStoreServerVersion(VERSION);
    const batch = new features.SupportedMethod();
    batch.setServiceName('event_store.client.streams.streams');
    batch.setMethodName('batchappend');
    methods.addMethods(batch);
    answer(null, methods);
  };

  private refusalOf(metadata: Metadata): ReturnType<typeof failure> | null {
    if (this.tls !== undefined) {
      const given = metadata.get('authorization')[0]?.toString();
      const wanted = `Basic ${Buffer.from(`${this.tls.username}:${this.tls.password}`).toString('base64')}`;
      if (given !== wanted) return failure(status.UNAUTHENTICATED, 'Bad HTTP status code: Unauthorized');
    }
    return this.leader !== null && metadata.get('requires-leader')[0] === 'true' ? notLeader(this.leader) : null;
  }

  /** A method, because the compiler assumes that a property does not change across an await. */
  private isFrozen(): boolean {
    return this.frozen;
  }
}

type AppendCall = ServerReadableStream<streams.AppendReq, streams.AppendResp>;
type BatchCall = ServerDuplexStream<streams.BatchAppendReq, streams.BatchAppendResp>;
/** -1: no stream. */
type Expected = number | 'stream_exists' | 'any';
type ReadCall = ServerWritableStream<streams.ReadReq, streams.ReadResp>;
type Proposed = ReturnType<typeof proposedEvent>;

async function requestsOf(call: AppendCall): Promise<readonly streams.AppendReq[]> {
  const requests: streams.AppendReq[] = [];
  call.on('data', (request: streams.AppendReq) => requests.push(request));
  await new Promise<void>((resolve) => {
    call.on('end', resolve);
    call.on('error', () => undefined);
  });
  return requests;
}

function expectedOf(options: streams.AppendReq.Options): Expected {
  return options.hasRevision() ? Number(options.getRevision()) : options.hasNoStream() ? -1 : options.hasStreamExists() ? 'stream_exists' : 'any';
}

function proposedEvent(message: streams.AppendReq.ProposedMessage | streams.BatchAppendReq.ProposedMessage) {
  return {
    id: message.getId()?.getString() ?? '',
    type: message.getMetadataMap().get('type') ?? '',
    contentType: message.getMetadataMap().get('content-type') ?? '',
    data: message.getData_asU8(),
    metadata: message.getCustomMetadata_asU8(),
  };
}

function eventResponse(event: Stored): streams.ReadResp {
  const id = new shared.UUID();
  id.setString(event.id);
  const stream = new shared.StreamIdentifier();
  stream.setStreamName(Buffer.from(event.stream).toString('base64'));
  const recorded = new ReadResp.ReadEvent.RecordedEvent();
  recorded.setId(id);
  recorded.setStreamIdentifier(stream);
  recorded.setStreamRevision(String(event.revision));
  recorded.setCommitPosition(String(event.position));
  recorded.setPreparePosition(String(event.position));
  recorded.getMetadataMap().set('type', event.type).set('content-type', event.contentType).set('created', String(event.createdTicks));
  recorded.setData(event.data);
  recorded.setCustomMetadata(event.metadata);
  const read = new ReadResp.ReadEvent();
  read.setEvent(recorded);
  read.setCommitPosition(String(event.position));
  const response = new ReadResp();
  response.setEvent(read);
  return response;
}

function checkpointResponse({ position }: Stored): streams.ReadResp {
  const checkpoint = new ReadResp.Checkpoint();
  checkpoint.setCommitPosition(String(position));
  checkpoint.setPreparePosition(String(position));
  const response = new ReadResp();
  response.setCheckpoint(checkpoint);
  return response;
}

/** Waits until the client takes it, or has gone. */
async function write(call: ReadCall, response: streams.ReadResp): Promise<void> {
  if (call.cancelled || call.write(response)) return;
  const taken = new AbortController();
  await Promise.race(['drain', 'cancelled', 'close'].map((event) => once(call, event, { signal: taken.signal }).catch(() => undefined)));
  taken.abort();
}

function failure(code: status, details: string, headers: Readonly<Record<string, string>> = {}) {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return Object.assign(new Error(details), { code, details, metadata });
}

function notLeader({ host, port }: { readonly host: string; readonly port: number }) {
  return failure(status.NOT_FOUND, 'Leader info available', {
    exception: 'not-leader',
    'leader-endpoint-host': host,
    'leader-endpoint-port': String(port),
  });
}
