import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { SetRepositoryPlace } from '../model/place.commands.js';
import { placeStream } from '../model/place.events.js';
import { placeDecider } from '../model/place.state.js';
import { decideSetPlace } from './set-place.decide.js';

const decider = placeDecider(decideSetPlace);

@CommandHandler(SetRepositoryPlace)
export class SetPlaceHandler implements ICommandHandler<SetRepositoryPlace> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  async execute({ repositoryId: repository_id, place, context }: SetRepositoryPlace): Promise<{ position: Position | null }> {
    await this.readModels.current('repositories');
    if (!(await this.dataSource.getRepository(RepositoryReadModel).existsBy({ repository_id }))) {
      throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
    }
    const { position } = await this.runner.run(placeStream(repository_id), decider, { repository_id, ...place, set_at: this.clock.iso() }, context);
    return { position };
  }
}
