import { createHash, timingSafeEqual } from 'node:crypto';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { NodeTokenFiles, nodeTokenLock } from '../../node-link/node-token-files.js';
import { publicKeyFingerprint } from '../../../../lib/ssh/host-key.js';
import { type Pairing, PairNode } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider, type NodeState } from '../model/node.state.js';
import { decidePairNode, pairingRefused, worthless } from './pair-node.decide.js';

const decider = nodeDecider(decidePairNode);

@CommandHandler(PairNode)
export class PairNodeHandler implements ICommandHandler<PairNode> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly tokens: NodeTokenFiles,
    private readonly mutex: KeyedMutex,
  ) {}

  async execute({ nodeId, offered, context }: PairNode): Promise<Pairing> {
    const fingerprint = publicKeyFingerprint(offered.publicKey);
    return this.mutex.runExclusive(nodeTokenLock(nodeId), async () => {
      const before = (await this.runner.load(nodeStream(nodeId), decider)).state;
      const proofHolds = holds(offered.proof, before);
      const paired = {
        public_key: offered.publicKey,
        public_key_fingerprint: fingerprint,
        token_sha256: createHash('sha256').update(offered.token).digest('hex'),
        host: offered.host,
        paired_at: this.clock.iso(),
      };
      // Store the token before the event that makes it valid: a token without an event is removed later, but a node whose token is missing could not be called.
      if (proofHolds && before.status === 'pairing') await this.tokens.keep(nodeId, offered.token);
      const { state, events } = await this.runner.run(nodeStream(nodeId), decider, { node_id: nodeId, proof_holds: proofHolds, paired }, context);
      const refusal = events.find((event) => event.type === 'NodePairingFailed');
      if (refusal !== undefined) throw worthless(nodeId, refusal.data.code);
      if (state.status !== 'awaiting_approval') throw pairingRefused();
      return { name: state.name, reversePort: state.offer.reverse_port, publicKeyFingerprint: fingerprint };
    });
  }
}

function holds(proof: string, state: NodeState): boolean {
  if (state.status !== 'pairing' && state.status !== 'awaiting_approval') return false;
  return timingSafeEqual(createHash('sha256').update(proof).digest(), Buffer.from(state.offer.proof_sha256, 'hex'));
}
