import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { SetCapacityThresholds } from '../model/capacity.commands.js';
import { capacityStream } from '../model/capacity.events.js';
import { capacityDecider } from '../model/capacity.state.js';
import { decideThresholds } from './set-thresholds.decide.js';

const decider = capacityDecider(decideThresholds);

@CommandHandler(SetCapacityThresholds)
export class SetThresholdsHandler implements ICommandHandler<SetCapacityThresholds> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  async execute({ repositoryId: repository_id, thresholds, context }: SetCapacityThresholds): Promise<{ position: Position | null }> {
    await this.readModels.current('repositories');
    if (!(await this.dataSource.getRepository(RepositoryReadModel).existsBy({ repository_id }))) {
      throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
    }
    const command = { repository_id, ...thresholds, set_at: this.clock.iso() };
    const { position } = await this.runner.run(capacityStream(repository_id), decider, command, context);
    return { position };
  }
}
