import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { normalize } from 'node:path';
import { DataSource, Not } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex, repositoryUseLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { REPOSITORIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { MoveRepository, type RepositoryCreation } from '../model/repository.commands.js';
import { repositoryStream } from '../model/repository.events.js';
import { repositoryDecider } from '../model/repository.state.js';
import { USE_READ_MODELS, usesOfRepository } from '../model/repository-uses.reader.js';
import { decideMoveRepository, type MoveRepositoryData } from './move-repository.decide.js';

const decider = repositoryDecider(decideMoveRepository);

@CommandHandler(MoveRepository)
export class MoveRepositoryHandler implements ICommandHandler<MoveRepository> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly files: RepositoryFiles,
    private readonly mutex: KeyedMutex,
  ) {}

  /** Serialized with the start of backups and copies into this repository. */
  async execute(command: MoveRepository): Promise<RepositoryCreation> {
    return this.mutex.runExclusive(repositoryUseLock(command.repositoryId), () =>
      this.lock.run(REPOSITORIES, ['repositories', ...USE_READ_MODELS], () => this.move(command)),
    );
  }

  private async move({ repositoryId, place, context }: MoveRepository): Promise<RepositoryCreation> {
    const location = { ...place, path: normalize(place.path).replace(/(?<=.)\/+$/, '') };
    const command: MoveRepositoryData = {
      repository_id: repositoryId,
      location,
      checks: [],
      marker_repository_id: repositoryId,
      in_use: await usesOfRepository(this.dataSource, repositoryId),
      moved_at: this.clock.iso(),
    };
    // Nothing is written to the path for a repository that is unknown, in use or already there.
    const before = (await this.runner.load(repositoryStream(repositoryId), decider)).state;
    const unchanged = decideMoveRepository(command, before).length === 0;
    const others = unchanged ? [] : await this.dataSource.getRepository(RepositoryReadModel).findBy({ repository_id: Not(repositoryId) });
    const probe = unchanged
      ? {}
      : await this.files.probe(
          location.path,
          others.map(({ path }) => path),
          repositoryId,
          location.require_mount,
        );
    const { state, position } = await this.runner.run(repositoryStream(repositoryId), decider, { ...command, ...probe }, context);
    if (state.status === 'none') throw new Error(`repository ${repositoryId} has no events`);
    return { repository: state.repository, capabilities: state.capabilities, position };
  }
}
