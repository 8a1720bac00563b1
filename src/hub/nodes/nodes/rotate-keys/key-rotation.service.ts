import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { NodeClient } from '../../node-link/node-client.js';
import { NodeTokenFiles, nodeTokenLock } from '../../node-link/node-token-files.js';
import { publicKeyFingerprint } from '../../../../lib/ssh/host-key.js';
import type { KeyRotation } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideRotateKeys, requireEnrolment } from './rotate-keys.decide.js';

const decider = nodeDecider(decideRotateKeys);

const LOOK_MS = 50;

/** The steps of a rotation, each of which may be repeated: create, record, activate, see in use. */
@Injectable()
export class KeyRotationService {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly nodes: NodeClient,
    private readonly tokens: NodeTokenFiles,
    private readonly mutex: KeyedMutex,
  ) {}

  /** Returns the position of the rotation's start; null: one is already in progress. */
  async begin(nodeId: string, context: CommandContext): Promise<string | null> {
    const before = requireEnrolment(nodeId, (await this.load(nodeId)).state);
    if (before.next !== null) return null;
    const rotationId = derivedId(`rotation/${context.commandId}`);
    const made = await this.nodes.prepareKeys(before.url, { rotation_id: rotationId });
    return this.mutex.runExclusive(nodeTokenLock(nodeId), async () => {
      await this.tokens.keep(nodeId, made.token);
      const data = {
        rotation_id: rotationId,
        public_key: made.public_key,
        public_key_fingerprint: publicKeyFingerprint(made.public_key),
        token_sha256: sha256(made.token),
        started_at: this.clock.iso(),
      };
      return (await this.runner.run(nodeStream(nodeId), decider, { node_id: nodeId, step: { kind: 'start', data } }, context)).position;
    });
  }

  /** Makes the node switch to its new keys; the node then confirms with a call of its own. */
  async activate(nodeId: string): Promise<void> {
    const { url, next } = requireEnrolment(nodeId, (await this.load(nodeId)).state);
    if (next !== null) await this.nodes.activateKeys(url, { rotation_id: next.rotation_id });
  }

  async recordInUse(nodeId: string, rotationId: string, token: string, context: CommandContext): Promise<string | null> {
    const step = { kind: 'in_use' as const, rotation_id: rotationId, token_sha256: sha256(token), now: this.clock.iso() };
    return (await this.runner.run(nodeStream(nodeId), decider, { node_id: nodeId, step }, context)).position;
  }

  /** Returns the state once no rotation is in progress, or when the patience runs out. */
  async outcome(nodeId: string, patienceMs: number): Promise<KeyRotation> {
    for (const ends = performance.now() + patienceMs; ;) {
      const { state, position } = await this.load(nodeId);
      const { keys, next } = requireEnrolment(nodeId, state);
      const completed = next === null;
      if (completed || performance.now() >= ends) return { publicKeyFingerprint: (next ?? keys).public_key_fingerprint, completed, position };
      await pause(LOOK_MS);
    }
  }

  private load(nodeId: string) {
    return this.runner.load(nodeStream(nodeId), decider);
  }
}

function sha256(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
