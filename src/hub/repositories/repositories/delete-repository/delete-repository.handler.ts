import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { KeyedMutex, repositoryUseLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { POLICIES, REPOSITORIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { DeleteRepository } from '../model/repository.commands.js';
import { repositoryStream } from '../model/repository.events.js';
import { repositoryDecider } from '../model/repository.state.js';
import { decideDeleteRepository } from './delete-repository.decide.js';

const decider = repositoryDecider(decideDeleteRepository);

@CommandHandler(DeleteRepository)
export class DeleteRepositoryHandler implements ICommandHandler<DeleteRepository> {
  private readonly logger = loggerFor('DeleteRepository');

  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly files: RepositoryFiles,
    private readonly mutex: KeyedMutex,
  ) {}

  /**
   * Serialized with the start of backups into this repository. Restores, mounts, exports and verifications need a completed backup, and the repository
   * stays while there is one; the lock of the VM prevents the deletion of that backup while they run. No policy can choose the repository meanwhile.
   */
  async execute({ repositoryId, context }: DeleteRepository): Promise<string | null> {
    return this.mutex.runExclusive(repositoryUseLock(repositoryId), () => this.lock.run(POLICIES, ['policies'], () => this.delete(repositoryId, context)));
  }

  private async delete(repositoryId: string, context: CommandContext): Promise<string | null> {
    return this.lock.run(REPOSITORIES, ['repositories', 'backups', 'copies'], async () => {
      const backups = this.dataSource.getRepository(BackupReadModel);
      const restorePoints = await backups.countBy({ repository_id: repositoryId, status: 'completed' });
      const unfinished = await backups.countBy([
        { repository_id: repositoryId, status: 'pending' },
        { repository_id: repositoryId, status: 'running' },
        { repository_id: repositoryId, status: 'failed', undone: false },
        { repository_id: repositoryId, status: 'cancelled', undone: false },
        { repository_id: repositoryId, status: 'deleted', files_removed: false },
      ]);
      const copies = await this.dataSource.getRepository(CopyReadModel).countBy([
        { repository_id: repositoryId, status: In(['pending', 'running', 'completed']) },
        { repository_id: repositoryId, status: In(['failed', 'cancelled', 'deleted']), removed: false },
        { source_repository_id: repositoryId, status: In(['pending', 'running']) },
      ]);
      const policies = (await this.dataSource.getRepository(PolicyReadModel).find({ order: { name: 'ASC' } })).filter(
        ({ repository_id, settings: { copies = [] } }) => [repository_id, ...copies.map((rule) => rule.repository_id)].includes(repositoryId),
      );
      const facts = { restore_points: restorePoints, unfinished_backups: unfinished, copies, policies: policies.map(({ name }) => name) };
      const command = { repository_id: repositoryId, ...facts, deleted_at: this.clock.iso() };
      const { state, position } = await this.runner.run(repositoryStream(repositoryId), decider, command, context);
      if (state.status !== 'none') await this.removeMarkerOf(repositoryId, state.repository.location.path);
      return position;
    });
  }

  /** Best effort: the file system may be gone permanently, which must not prevent the deletion of the repository. */
  private async removeMarkerOf(repositoryId: string, path: string): Promise<void> {
    try {
      if ((await this.files.readMarker(path))?.repository_id === repositoryId) await this.files.removeMarker(path);
    } catch (error) {
      this.logger.warn('could not remove the marker of a deleted repository', { repository_id: repositoryId, path, error });
    }
  }
}
