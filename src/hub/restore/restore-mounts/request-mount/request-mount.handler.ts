import { join } from 'node:path';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { refuseDamaged, restorePointAt, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { ACTIVE_MOUNTS } from '../model/active-mounts.reader.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ChainGuard, REQUEST_PATIENCE_MS } from '../../../repositories/repository-storage/chain-guard.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { MountRunner } from '../model/mount.runner.js';
import { type MountOutcome, RequestMount } from '../model/restore-mount.commands.js';
import { restoreMountStream } from '../model/restore-mount.events.js';
import { restoreMountDecider } from '../model/restore-mount.state.js';
import { decideRequestMount } from './request-mount.decide.js';

const decider = restoreMountDecider(decideRequestMount);

const READ_MODELS = ['backups', 'copies', 'repositories', 'restore_mounts'];
/** Slots and disks are allocated to one request at a time. */
const SLOTS_LOCK = 'restore-mounts';

@CommandHandler(RequestMount)
export class RequestMountHandler implements ICommandHandler<RequestMount> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly mounts: MountRunner,
    private readonly clock: Clock,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly mutex: KeyedMutex,
    private readonly files: RepositoryFiles,
    private readonly guard: ChainGuard,
    private readonly config: HubConfig,
  ) {}

  async execute(command: RequestMount): Promise<MountOutcome> {
    const mountId = derivedId(`restore-mount/${command.context.commandId}`);
    const { state } = await this.runner.load(restoreMountStream(mountId), decider);
    if (state.status === 'none') {
      const { vm_id } = await this.readable(command);
      // Serialized with the deletion of the VM's restore points, so that a restore point is not mounted while it is deleted.
      await this.mutex.runExclusive(vmLock(vm_id), () => this.mutex.runExclusive(SLOTS_LOCK, () => this.request(mountId, command)));
    }
    return this.mounts.bringUp(mountId, command.context);
  }

  /** Reading files may take long, so it precedes the locks. */
  private async readable(command: RequestMount): Promise<BackupReadModel> {
    const { backup, repository } = await this.mountable(command);
    try {
      const sources = (await sourcesOf(this.dataSource, backup))(command.diskIndex);
      await this.guard.open(repository.path, sources, { allowDamaged: command.allowDamaged, patienceMs: REQUEST_PATIENCE_MS });
    } catch (error) {
      // No lock is held yet: if the restore point was deleted in the meantime, its rows and files are gone, and that must be the reported error.
      const { backupId, diskIndex, repositoryId } = command;
      await this.mountable({ backupId, diskIndex, repositoryId, allowDamaged: true });
      throw error;
    }
    return backup;
  }

  private async mountable(wanted: Pick<RequestMount, 'backupId' | 'diskIndex' | 'allowDamaged' | 'repositoryId'>) {
    const { backupId, diskIndex, allowDamaged } = wanted;
    const backup = await restorePointAt(this.dataSource, this.files, await this.backup(backupId), wanted);
    const facts = { backup_id: backupId, status: backup.status };
    if (backup.status === 'deleted') throw new DomainError('gone', 'restore_point_deleted', `Restore point ${backupId} has been deleted.`, facts);
    if (backup.status !== 'completed' || backup.files === null || backup.folder === null) {
      throw new DomainError('conflict', 'restore_point_not_ready', `Backup ${backupId} is ${backup.status}. Only a completed backup can be mounted.`, facts);
    }
    const file = backup.files.find(({ disk_id }) => disk_id === diskIndex);
    if (file === undefined) {
      const disks = backup.files.map(({ disk_id }) => disk_id);
      throw new DomainError('not_found', 'disk_not_found', `Restore point ${backupId} has no disk ${diskIndex}. It has these disks: ${disks.join(', ')}.`, {
        backup_id: backupId,
        disk_index: diskIndex,
        disks,
      });
    }
    refuseDamaged(backup, allowDamaged);
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: backup.repository_id });
    if (repository === null) throw new Error(`repository ${backup.repository_id} of backup ${backupId} is not known`);
    await this.files.checkPresent(repository.repository_id, repository.path);
    return { backup, repository, file: join(repository.path, backup.folder, file.file) };
  }

  private async request(mountId: string, command: RequestMount): Promise<void> {
    const { backupId, diskIndex } = command;
    const { backup, repository, file } = await this.mountable(command);
    await this.files.checkChain(repository.path, (await sourcesOf(this.dataSource, backup))(diskIndex), command.allowDamaged);
    const active = await this.dataSource.getRepository(RestoreMountReadModel).findBy({ status: In([...ACTIVE_MOUNTS]) });
    await this.runner.run(
      restoreMountStream(mountId),
      decider,
      {
        request: {
          mount_id: mountId,
          backup_id: backupId,
          vm_id: backup.vm_id,
          vm_name: backup.vm_name,
          repository_id: backup.repository_id,
          disk_index: diskIndex,
          file,
          partition: command.partition,
          idle_limit_seconds: this.config.mountIdleSeconds,
          ...(command.allowDamaged ? { allow_damaged: true } : {}),
          requested_at: this.clock.iso(),
        },
        slots: this.config.mountSlots,
        active,
      },
      command.context,
    );
  }

  private async backup(backupId: string): Promise<BackupReadModel> {
    await this.readModels.current(...READ_MODELS);
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId });
    if (backup === null) throw new DomainError('not_found', 'backup_not_found', `Backup ${backupId} does not exist.`, { backup_id: backupId });
    return backup;
  }
}
