import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, Not } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { REPOSITORIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { MARKER_FORMAT_VERSION } from '../../../../storage/repository-files/repository-marker.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import type { RepositoryProbe } from '../../../../storage/repository-files/repository-probe.js';
import { CreateRepository, type RepositoryCreation } from '../model/repository.commands.js';
import { type RepositoryFacts, type RepositoryLocation, repositoryStream } from '../model/repository.events.js';
import { repositoryDecider } from '../model/repository.state.js';
import { normalized, ShareMounts } from '../model/share-mounts.service.js';
import { type CreateRepositoryData, decideCreateRepository } from './create-repository.decide.js';

const decider = repositoryDecider(decideCreateRepository);

@CommandHandler(CreateRepository)
export class CreateRepositoryHandler implements ICommandHandler<CreateRepository> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly files: RepositoryFiles,
    private readonly shares: ShareMounts,
  ) {}

  async execute(command: CreateRepository): Promise<RepositoryCreation> {
    // A repeated command creates the same repository.
    const repositoryId = derivedId(`repository/${command.context.commandId}`);
    return this.shares.whileReachable(repositoryId, normalized(command.location), (location) => this.createAt(repositoryId, location, command));
  }

  private async createAt(repositoryId: string, location: RepositoryLocation, command: CreateRepository): Promise<RepositoryCreation> {
    return this.lock.run(REPOSITORIES, ['repositories'], async () => {
      const others = await this.dataSource.getRepository(RepositoryReadModel).findBy({ repository_id: Not(repositoryId) });
      const probe = await this.probe(location.path, others, repositoryId, location.type !== 'local' || location.require_mount);
      const repository: RepositoryFacts = {
        repository_id: repositoryId,
        name: command.name,
        location,
        created_at: this.clock.iso(),
      };
      const data: CreateRepositoryData = {
        repository,
        capabilities: probe.ok && location.type !== 'local' ? await this.files.measure(location.path) : null,
        name_holder: others.find((other) => other.name === command.name)?.repository_id ?? null,
        checks: probe.checks,
        marker_repository_id: probe.marker_repository_id,
      };
      const before = (await this.runner.load(repositoryStream(repositoryId), decider)).state;
      if (before.status === 'deleted') {
        throw new DomainError(
          'conflict',
          'repository_deleted',
          `Repository "${command.name}" was already created by this command and has since been deleted.`,
          {
            repository_id: repositoryId,
          },
        );
      }
      // Refuse before anything is written to the path.
      decideCreateRepository(data, before);
      return this.create(data, before.status === 'none', command);
    });
  }

  /** Writes the marker before the event: every known repository has had a marker, so a missing one means a missing file system. */
  private async create(data: CreateRepositoryData, isNew: boolean, command: CreateRepository): Promise<RepositoryCreation> {
    const { repository_id, created_at } = data.repository;
    const { path } = data.repository.location;
    if (isNew) await this.files.writeMarker(path, { format_version: MARKER_FORMAT_VERSION, repository_id, created_at, role: 'primary' });
    try {
      const { state, position } = await this.runner.run(repositoryStream(repository_id), decider, data, command.context);
      if (state.status === 'none') throw new Error(`repository ${repository_id} was not recorded`);
      return { repository: state.repository, capabilities: state.capabilities, position };
    } catch (error) {
      if (isNew && error instanceof DomainError) await this.files.removeMarker(path).catch(() => undefined);
      throw error;
    }
  }

  private async probe(path: string, others: readonly RepositoryReadModel[], repositoryId: string, requireMount: boolean): Promise<RepositoryProbe> {
    const paths = others.map((other) => other.path);
    const probe = await this.files.probe(path, paths, repositoryId, requireMount);
    const marker = probe.marker_repository_id;
    if (marker === null || marker === repositoryId) return probe;
    // If a repository of this hub was deleted while its file system was unavailable, its marker is still at the path.
    const owner = (await this.runner.load(repositoryStream(marker), decider)).state;
    return owner.status === 'deleted' ? this.files.probe(path, paths, marker, requireMount) : probe;
  }
}
