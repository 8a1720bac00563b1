import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { NodeAccessPublisher } from '../model/node-access.port.js';
import { ApproveNode } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideApproveNode } from './approve-node.decide.js';

const decider = nodeDecider(decideApproveNode);

@CommandHandler(ApproveNode)
export class ApproveNodeHandler implements ICommandHandler<ApproveNode> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly access: NodeAccessPublisher,
  ) {}

  async execute({ nodeId, publicKeyFingerprint, context }: ApproveNode): Promise<string | null> {
    const command = { node_id: nodeId, public_key_fingerprint: publicKeyFingerprint, now: this.clock.iso() };
    const { position } = await this.runner.run(nodeStream(nodeId), decider, command, context);
    if (position !== null) await this.access.published(position);
    return position;
  }
}
