import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Decider } from '../../../../kernel/decider.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RecordTunnel } from '../model/node.commands.js';
import { type NodeEvent, nodeStream } from '../model/node.events.js';
import { evolveNode, initialNodeState, type NodeState } from '../model/node.state.js';
import { decideRecordTunnel, type RecordTunnelData } from './record-tunnel.decide.js';

const decider: Decider<NodeState, RecordTunnelData, NodeEvent> = { initialState: initialNodeState, evolve: evolveNode, decide: decideRecordTunnel };

@CommandHandler(RecordTunnel)
export class RecordTunnelHandler implements ICommandHandler<RecordTunnel> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ nodeId, journalId, changes, context }: RecordTunnel): Promise<void> {
    await this.runner.run(nodeStream(nodeId), decider, { journal_id: journalId, changes, now: this.clock.iso() }, context);
  }
}
