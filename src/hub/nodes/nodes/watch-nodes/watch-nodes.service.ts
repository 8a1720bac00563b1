import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { DataSource, In, Not } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { NodeClient } from '../../node-link/node-client.js';
import { nodeStream } from '../model/node.events.js';
import { CLOSED_NODE_STATES } from '../model/node.response.js';
import { nodeDecider } from '../model/node.state.js';
import { decideObserveNode, type NodeObservation } from './observe-node.decide.js';

/** Injection token of NodeWatchOptions. */
export const NODE_WATCH_OPTIONS = Symbol('NODE_WATCH_OPTIONS');

export interface NodeWatchOptions {
  /** Time between two checks of the nodes, in milliseconds; varied by up to a fifth, so that the hubs of one node do not synchronize. */
  readonly intervalMs: number;
  /** Consecutive failed checks after which a node counts as unreachable: a busy node may answer slowly once. */
  readonly failuresToUnreachable: number;
}

export const DEFAULT_NODE_WATCH: NodeWatchOptions = { intervalMs: 5_000, failuresToUnreachable: 2 };

const STOP_PATIENCE_MS = 1_000;

const decider = nodeDecider(decideObserveNode);

/** Checks every node's health periodically and records changes. */
@Injectable()
export class WatchNodesService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = loggerFor('WatchNodes');
  private readonly failures = new Map<string, number>();
  private timer: NodeJS.Timeout | null = null;
  private underWay: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly ids: Ids,
    @Inject(NODE_WATCH_OPTIONS) private readonly options: NodeWatchOptions,
  ) {}

  onApplicationBootstrap(): void {
    this.schedule(0);
  }

  /** Does not wait for a running check, which may hang on a silent node or an unavailable store; the next start finds the same changes. */
  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    await Promise.race([this.underWay, setTimeoutPromise(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  /** Checks every node once; resolves when all outcomes are recorded. Never rejects. */
  async look(): Promise<void> {
    try {
      const nodes = await this.dataSource.getRepository(NodeReadModel).findBy({ state: Not(In([...CLOSED_NODE_STATES])) });
      const ids = new Set(nodes.map((node) => node.node_id));
      for (const id of this.failures.keys()) if (!ids.has(id)) this.failures.delete(id);
      await Promise.all(
        nodes.map((node) =>
          this.lookAt(node).catch((error: unknown) => this.logger.warn('could not check a node; trying again', { node_id: node.node_id, error })),
        ),
      );
    } catch (error) {
      this.logger.warn('could not check the nodes; trying again', { error });
    }
  }

  private schedule(delayMs: number): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.underWay = this.look().then(() => this.schedule(jittered(this.options.intervalMs, this.ids.next())));
    }, delayMs);
    this.timer.unref();
  }

  private async lookAt(node: NodeReadModel): Promise<void> {
    const observation = await this.observe(node);
    if (observation.kind === 'unreachable') {
      const failures = (this.failures.get(node.node_id) ?? 0) + 1;
      this.failures.set(node.node_id, failures);
      if (failures < this.options.failuresToUnreachable) return;
    } else {
      this.failures.delete(node.node_id);
    }
    // The read model already shows this, so the stream need not be read at every check.
    if (isKnown(node, observation)) return;
    const id = this.ids.next();
    await this.runner.run(
      nodeStream(node.node_id),
      decider,
      { observation, at: this.clock.iso() },
      { commandId: id, correlationId: id, actor: 'system:watch-nodes' },
    );
  }

  private async observe(node: NodeReadModel): Promise<NodeObservation> {
    try {
      const health = await this.nodes.health(node.url);
      if (health.node_id === node.node_id) return { kind: 'reachable', version: health.version };
      return {
        kind: 'unreachable',
        code: 'node_identity_changed',
        detail: `The node at ${node.url} is now ${health.node_id} instead of ${node.node_id}. Register it again, or restore its old data directory.`,
      };
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return { kind: 'unreachable', code: error.code, detail: error.message };
    }
  }
}

/** Ids are the only source of randomness; their last digits are random enough. */
function jittered(intervalMs: number, id: string): number {
  return intervalMs * (0.8 + (0.4 * Number.parseInt(id.slice(-4), 16)) / 0xffff);
}

function isKnown(node: NodeReadModel, observation: NodeObservation): boolean {
  if (observation.kind === 'reachable') return node.state === 'reachable' && node.version === observation.version;
  return node.state === 'unreachable' && node.error?.code === observation.code;
}
