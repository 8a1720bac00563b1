import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { asDomainEvent, CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { EventStore, type RecordedEvent, type Subscription } from '../../../store/event-store/event-store.port.js';
import { ListenAddress } from '../../../../lib/http/listen-address.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { repeat, type Repetition } from '../../../../lib/process/repeat.js';
import { NodeCredentials } from '../../../../lib/signed-calls/node-credentials.js';
import { NodeTokenFiles, nodeTokenLock } from '../../node-link/node-token-files.js';
import { authorizedKeysLine, pairingKeyLine, writeAuthorizedKeys } from '../../node-link/authorized-keys.js';
import { NodeAccessPublisher } from '../model/node-access.port.js';
import { type NodeEvent, nodeStream } from '../model/node.events.js';
import { evolveNode, initialNodeState, nodeDecider, type NodeState } from '../model/node.state.js';
import { decideExpirePairing } from './expire-pairing.decide.js';
import { type NodeAccess, planNodeAccess } from './node-access.plan.js';

const decider = nodeDecider(decideExpirePairing);

/** Retry interval after the file could not be written. */
const RETRY_MS = 1_000;
/** Longest sleep before the next deadline is checked: timers are limited to little more than three weeks. */
const LONGEST_SLEEP_MS = 3_600_000;
const PATIENCE_MS = 10_000;
/** How often to compare the pool of NBD ports with the pool in the published lines: settings may be reloaded. */
const POOL_LOOK_MS = 2_000;
/** Retry interval after an expired code could not be recorded. Nothing depends on the record, but operators should see it. */
const EXPIRY_RETRY_MS = 10_000;
/** How often to report a start that waits for the nodes' events. */
const REPORT_WAIT_MS = 10_000;

type Waiter = { readonly position: Position; readonly resolve: () => void };

/**
 * Applies the keys and tokens that the nodes' events grant: tokens in memory, for the guard and for calls to nodes, and the tunnel server's
 * authorized_keys. Both are rebuilt from all events of all nodes at every start; no existing file and no read model is trusted.
 */
@Injectable()
export class PublishNodeAccessReactor extends NodeAccessPublisher implements OnModuleInit, OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = loggerFor('NodeAccess');
  private readonly states = new Map<string, NodeState>();
  private readonly waiters = new Set<Waiter>();
  private subscription: Subscription | null = null;
  private caughtUp = false;
  /** Positions up to which events are folded, and up to which they are in effect. */
  private foldedTo: Position = '';
  private publishedTo: Position = '';
  private listening = false;
  private publishing: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;
  private poolWatch: Repetition | null = null;
  /** The pool in the published lines; the settings may have been reloaded since. */
  private openedPool: { readonly first: number; readonly count: number } | null = null;

  constructor(
    private readonly store: EventStore,
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly ids: Ids,
    private readonly config: HubConfig,
    private readonly listenAddress: ListenAddress,
    private readonly credentials: NodeCredentials,
    private readonly tokens: NodeTokenFiles,
    private readonly mutex: KeyedMutex,
  ) {
    super();
  }

  /** Loads the tokens before this hub calls a node or a node calls the hub. */
  async onModuleInit(): Promise<void> {
    const head = await this.store.head();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.subscription = this.store.subscribeToAll({
      after: null,
      categories: ['node'],
      handle: ({ events, upTo, caughtUp }) => {
        for (const event of events) this.fold(event);
        this.foldedTo = upTo;
        const isFirst = caughtUp && !this.caughtUp;
        this.caughtUp ||= caughtUp;
        // Removes what a crash left behind.
        if (isFirst) for (const nodeId of this.states.keys()) this.sweepTokens(nodeId);
        // Events of other streams change nothing here.
        if (this.caughtUp && (isFirst || events.length > 0)) void this.publish().then(() => resolve(undefined));
        return Promise.resolve();
      },
    });
    this.subscription.ended.catch((error: unknown) => this.logger.error('lost the subscription to node events; access of nodes stays unchanged', { error }));
    if (head === null) return;
    const begun = performance.now();
    const report = setInterval(() => {
      const waited_seconds = Math.round((performance.now() - begun) / 1000);
      this.logger.warn('waiting for the event store: the hub listens once it has read the events of its nodes', { waited_seconds });
    }, REPORT_WAIT_MS);
    try {
      await Promise.race([promise, this.subscription.ended.catch(() => undefined)]);
    } finally {
      clearInterval(report);
    }
  }

  onApplicationBootstrap(): void {
    // The lines contain the API's port, which may become known only now.
    this.listenAddress.whenListening(() => {
      this.listening = true;
      void this.publish();
    });
    this.poolWatch = repeat(
      () => POOL_LOOK_MS,
      () => {
        const { nbdPortFirst, nbdPortCount } = this.config;
        if (this.openedPool?.first === nbdPortFirst && this.openedPool.count === nbdPortCount) return;
        void this.publish();
      },
    );
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopped = true;
    this.poolWatch?.stop();
    if (this.timer !== null) clearTimeout(this.timer);
    await this.subscription?.close();
    await this.publishing;
  }

  async published(position: Position): Promise<void> {
    if (this.publishedTo >= position) return;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter = { position, resolve: () => resolve(true) };
    const timer = setTimeout(() => resolve(false), PATIENCE_MS);
    this.waiters.add(waiter);
    try {
      if (await promise) return;
    } finally {
      clearTimeout(timer);
      this.waiters.delete(waiter);
    }
    throw new DomainError(
      'unavailable',
      'node_access_not_published',
      `The change is recorded, but ${this.config.tunnelDirectory} could not be written within ${PATIENCE_MS / 1000} s; the hub keeps trying. See the hub's log.`,
    );
  }

  private fold(recorded: RecordedEvent): void {
    const nodeId = recorded.stream.slice('node-'.length);
    const state = evolveNode(this.states.get(nodeId) ?? initialNodeState, asDomainEvent<NodeEvent>(recorded));
    this.states.set(nodeId, state);
    const { type } = recorded;
    if (this.caughtUp && ['NodePaired', 'NodeKeyRotated', 'NodeRevoked', 'NodeRemoved', 'NodeEnrolmentStarted'].includes(type)) this.sweepTokens(nodeId);
  }

  /** Runs one at a time; never rejects. */
  private async publish(): Promise<void> {
    const next = this.publishing.then(async () => {
      if (this.stopped) return;
      const upTo = this.foldedTo;
      try {
        await this.publishNow();
        this.publishedTo = upTo;
        for (const waiter of this.waiters) if (waiter.position <= upTo) waiter.resolve();
        this.wakeAt(this.nextDeadline());
      } catch (error) {
        this.logger.error('could not write authorized_keys of the tunnel server; trying again', { directory: this.config.tunnelDirectory, error });
        this.wakeAt(this.clock.now().getTime() + RETRY_MS);
      }
    });
    this.publishing = next;
    return next;
  }

  private async publishNow(): Promise<void> {
    const access = this.access();
    this.credentials.replace(
      access.map(({ node_id: nodeId, url, status, accepted }) => {
        const accept = accepted.map((sha256) => this.token(nodeId, sha256)).filter((token) => token !== null);
        const [first] = accepted;
        return { nodeId, url, status, accept, send: first === undefined ? null : this.token(nodeId, first) };
      }),
    );
    const apiPort = this.listening ? this.listenAddress.loopbackPort() : null;
    // Until the hub listens, the file of its last run stays.
    if (apiPort === null) return;
    if (await writeAuthorizedKeys(this.config.tunnelDirectory, this.lines(access, apiPort))) {
      this.logger.info('authorized_keys of the tunnel server has changed', {
        nodes: access.filter(({ tunnel_keys: keys }) => keys.length > 0).map(({ node_id: id }) => id),
      });
    }
  }

  private lines(access: readonly NodeAccess[], apiPort: number): readonly string[] {
    const { nbdPortFirst, nbdPortCount } = this.config;
    this.openedPool = { first: nbdPortFirst, count: nbdPortCount };
    const openPorts = [...Array.from({ length: nbdPortCount }, (_, index) => nbdPortFirst + index), apiPort];
    return access.flatMap(({ node_id: nodeId, reverse_port: reversePort, tunnel_keys: keys, pairing }) => [
      ...keys.map((publicKey) => authorizedKeysLine({ publicKey, nodeId, openPorts, reversePort })),
      ...(pairing === null ? [] : [pairingKeyLine({ publicKey: pairing.public_key, nodeId, apiPort, expiresAt: new Date(pairing.expires_at) })]),
    ]);
  }

  private access(): readonly NodeAccess[] {
    const now = this.clock.iso();
    return [...this.states.values()].map((state) => planNodeAccess(state, now)).filter((access) => access !== null);
  }

  private token(nodeId: string, sha256: string): string | null {
    try {
      const token = this.tokens.read(nodeId, sha256);
      if (token === null) this.logger.error('the token of an enrolled node is missing; enrol the node again', { node_id: nodeId });
      return token;
    } catch (error) {
      this.logger.error('the token of an enrolled node cannot be read; enrol the node again', { node_id: nodeId, error });
      return null;
    }
  }

  /** Next time at which access expires, in Unix milliseconds. */
  private nextDeadline(): number {
    const deadlines = this.access().map(({ pairing }) => (pairing === null ? Infinity : Date.parse(pairing.until)));
    const now = this.clock.now().getTime();
    const unrecorded = [...this.states.values()].some((state) => hasExpired(state, this.clock.iso())) ? now + EXPIRY_RETRY_MS : Infinity;
    return Math.min(...deadlines, unrecorded);
  }

  private wakeAt(timeMs: number): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.stopped || timeMs === Infinity) return;
    const sleepMs = Math.min(Math.max(timeMs - this.clock.now().getTime(), 10), LONGEST_SLEEP_MS);
    this.timer = setTimeout(() => void this.wake(), sleepMs);
    this.timer.unref();
  }

  private async wake(): Promise<void> {
    const now = this.clock.iso();
    for (const [nodeId, state] of this.states) {
      if (!hasExpired(state, now)) continue;
      const id = this.ids.next();
      const context = { commandId: id, correlationId: id, actor: 'system:node-access' };
      await this.runner
        .run(nodeStream(nodeId), decider, { now }, context)
        .catch((error: unknown) => this.logger.warn('could not record that a pairing code expired; the code is refused anyway', { node_id: nodeId, error }));
    }
    await this.publish();
  }

  /** Removes tokens that no event names: those of finished rotations, and those of pairings that another caller completed first. */
  private sweepTokens(nodeId: string): void {
    void this.mutex
      .runExclusive(nodeTokenLock(nodeId), async () => {
        const { state } = await this.runner.load(nodeStream(nodeId), decider);
        await this.tokens.keepOnly(nodeId, planNodeAccess(state, this.clock.iso())?.kept ?? []);
      })
      .catch((error: unknown) => this.logger.warn('could not remove tokens that are no longer valid', { node_id: nodeId, error }));
  }
}

function hasExpired(state: NodeState, now: string): boolean {
  return state.status === 'pairing' && state.failed === null && now >= state.offer.expires_at;
}
