import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, Not } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { NodeClient } from '../../node-link/node-client.js';
import { RegisterLock, VMS_AND_NODES } from '../../../store/register-lock/register-lock.js';
import { type NodeRegistration, RegisterNode } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideRegisterNode } from './register-node.decide.js';

const decider = nodeDecider(decideRegisterNode);

@CommandHandler(RegisterNode)
export class RegisterNodeHandler implements ICommandHandler<RegisterNode> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
    private readonly lock: RegisterLock,
  ) {}

  async execute({ name, url, context }: RegisterNode): Promise<NodeRegistration> {
    const { node_id } = await this.nodes.health(url);
    return this.lock.run(VMS_AND_NODES, ['nodes'], async () => {
      const sameName = await this.dataSource.getRepository(NodeReadModel).findOneBy({ name, node_id: Not(node_id) });
      const command = { node: { node_id, name, url, registered_at: this.clock.iso() }, name_holder: sameName?.node_id ?? null };
      const { position } = await this.runner.run(nodeStream(node_id), decider, command, context);
      return { node: { node_id, name, url }, position };
    });
  }
}
