import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RegisterLock, VMS_AND_NODES } from '../../../store/register-lock/register-lock.js';
import { NodeAccessPublisher } from '../model/node-access.port.js';
import { RemoveNode } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideRemoveNode } from './remove-node.decide.js';

const decider = nodeDecider(decideRemoveNode);

@CommandHandler(RemoveNode)
export class RemoveNodeHandler implements ICommandHandler<RemoveNode> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly access: NodeAccessPublisher,
  ) {}

  async execute({ nodeId, context }: RemoveNode): Promise<string | null> {
    return this.lock.run(VMS_AND_NODES, ['vms'], async () => {
      const vms = await this.dataSource
        .getRepository(VmReadModel)
        .find({ where: { node_id: nodeId }, select: { vm_id: true, name: true }, order: { name: 'ASC' } });
      const command = { node_id: nodeId, vm_names: vms.map((vm) => vm.name), removed_at: this.clock.iso() };
      const { events, position } = await this.runner.run(nodeStream(nodeId), decider, command, context);
      // The answer claims that the node is locked out, so wait until it is.
      if (position !== null && events.length > 0) await this.access.published(position);
      return position;
    });
  }
}
