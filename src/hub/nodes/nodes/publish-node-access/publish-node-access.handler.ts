import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { PublishNodeAccess } from '../model/node.commands.js';
import { PublishNodeAccessReactor } from './publish-node-access.reactor.js';

@CommandHandler(PublishNodeAccess)
export class PublishNodeAccessHandler implements ICommandHandler<PublishNodeAccess> {
  constructor(private readonly access: PublishNodeAccessReactor) {}

  execute({ position }: PublishNodeAccess): Promise<void> {
    return this.access.published(position);
  }
}
