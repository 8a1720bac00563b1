import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, Not } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { NodeClient } from '../../node-link/node-client.js';
import { RegisterLock, VMS_AND_NODES } from '../../../store/register-lock/register-lock.js';
import { type NodeRegistration, RegisterLocalNode } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideRegisterLocalNode } from './register-local-node.decide.js';

const NAME = 'local';
const decider = nodeDecider(decideRegisterLocalNode);

@CommandHandler(RegisterLocalNode)
export class RegisterLocalNodeHandler implements ICommandHandler<RegisterLocalNode> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
    private readonly lock: RegisterLock,
  ) {}

  async execute({ url, context }: RegisterLocalNode): Promise<NodeRegistration> {
    const { node_id } = await this.nodes.health(url);
    return this.lock.run(VMS_AND_NODES, ['nodes'], async () => {
      const taken = (await this.dataSource.getRepository(NodeReadModel).findOneBy({ name: NAME, node_id: Not(node_id) })) !== null;
      const command = { node_id, name: taken ? `${NAME}-${node_id.slice(-8)}` : NAME, url, now: this.clock.iso() };
      const { state, position } = await this.runner.run(nodeStream(node_id), decider, command, context);
      if (state.status !== 'registered') throw new Error(`node ${node_id} was removed during its registration`);
      return { node: { node_id, name: state.name, url: state.url }, position };
    });
  }
}
