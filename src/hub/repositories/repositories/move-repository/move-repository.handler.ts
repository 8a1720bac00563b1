import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { dirname, join } from 'node:path';
import { DataSource, Not } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { Clock, derivedId, Ids } from '../../../../lib/clock/clock.js';
import { KeyedMutex, repositoryUseLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { REPOSITORIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { MoveRepository, type RepositoryCreation } from '../model/repository.commands.js';
import { type RepositoryLocation, repositoryStream } from '../model/repository.events.js';
import { repositoryDecider, type RepositoryState } from '../model/repository.state.js';
import { normalized, ShareMounts } from '../model/share-mounts.service.js';
import { USE_READ_MODELS, usesOfRepository } from '../model/repository-uses.reader.js';
import { decideMoveRepository, decideRecordCapabilities, type MoveRepositoryData } from './move-repository.decide.js';

const decider = repositoryDecider(decideMoveRepository);
const capabilitiesDecider = repositoryDecider(decideRecordCapabilities);

@CommandHandler(MoveRepository)
export class MoveRepositoryHandler implements ICommandHandler<MoveRepository> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly files: RepositoryFiles,
    private readonly mutex: KeyedMutex,
    private readonly shares: ShareMounts,
    private readonly ids: Ids,
  ) {}

  /**
   * A share is mounted at a mount point of its own, because another may be mounted at that of the repository, and before the locks are taken, because its server
   * may not answer for a while. What follows is serialized with the start of backups and copies into this repository.
   */
  async execute(command: MoveRepository): Promise<RepositoryCreation> {
    const requested = normalized(command.location);
    // Nothing is mounted or written for a repository that is unknown, in use or already there.
    const facts = await this.factsOf(command.repositoryId);
    const { state } = await this.runner.load(repositoryStream(command.repositoryId), decider);
    const present = state.status === 'active' && state.repository.location.type !== 'local' ? state.repository.location.path : '';
    const location = requested.type === 'local' ? requested : { ...requested, path: present };
    if (decideMoveRepository({ ...facts, location, checks: [] }, state).length === 0) return creationOf(state, null);
    return this.shares.whileReachable(this.ids.next(), requested, (reached) =>
      this.mutex.runExclusive(repositoryUseLock(command.repositoryId), () =>
        this.lock.run(REPOSITORIES, ['repositories', ...USE_READ_MODELS], () => this.move(command, reached)),
      ),
    );
  }

  private async move({ repositoryId, context }: MoveRepository, reached: RepositoryLocation): Promise<RepositoryCreation> {
    const stream = repositoryStream(repositoryId);
    const others = await this.dataSource.getRepository(RepositoryReadModel).findBy({ repository_id: Not(repositoryId) });
    const paths = others.map(({ path }) => path);
    const isShare = reached.type !== 'local';
    const { checks, ok, marker_repository_id } = await this.files.probe(reached.path, paths, repositoryId, isShare || reached.require_mount);
    const location = isShare ? { ...reached, path: join(dirname(reached.path), repositoryId) } : reached;
    const data = { ...(await this.factsOf(repositoryId)), location, checks, marker_repository_id };
    const { state, position } = await this.runner.run(stream, decider, data, context);
    if (!isShare || !ok) return creationOf(state, position);
    const measured = { capabilities: await this.files.measure(reached.path), measured_at: this.clock.iso() };
    const own = { ...context, commandId: derivedId(`capabilities/${context.commandId}`) };
    const recorded = await this.runner.run(stream, capabilitiesDecider, measured, own);
    return creationOf(recorded.state, recorded.position ?? position);
  }

  private async factsOf(repositoryId: string): Promise<Omit<MoveRepositoryData, 'location' | 'checks'>> {
    return {
      repository_id: repositoryId,
      marker_repository_id: repositoryId,
      in_use: await usesOfRepository(this.dataSource, repositoryId),
      moved_at: this.clock.iso(),
    };
  }
}

function creationOf(state: RepositoryState, position: string | null): RepositoryCreation {
  if (state.status === 'none') throw new Error('a repository without events was moved');
  return { repository: state.repository, capabilities: state.capabilities, position };
}
