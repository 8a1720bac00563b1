import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { refuseDamaged, repositoryOf, restorableBackup, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { asDomainEvent } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ChainGuard, REQUEST_PATIENCE_MS } from '../../../repositories/repository-storage/chain-guard.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { restoreExportIdName, StartRestoreExport, type StartedRestoreExport } from '../model/restore-export.commands.js';
import { type RestoreExportEvent, restoreExportStream } from '../model/restore-export.events.js';
import { restoreExportName } from '../model/restore-export-name.plan.js';
import { RestoreExportRecorder } from '../model/restore-export.recorder.js';

const START_PATIENCE_MS = 30_000;
const ANSWERABLE: ReadonlySet<string> = new Set(['RestoreExportStarted', 'RestoreExportFailed', 'RestoreExportEnded']);

@CommandHandler(StartRestoreExport)
export class StartRestoreExportHandler implements ICommandHandler<StartRestoreExport> {
  constructor(
    private readonly recorder: RestoreExportRecorder,
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly guard: ChainGuard,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
  ) {}

  async execute(command: StartRestoreExport): Promise<StartedRestoreExport> {
    const exportId = derivedId(restoreExportIdName(command.context.commandId));
    if ((await this.recorder.load(exportId)).state.status === 'none') await this.request(exportId, command);
    const reached = await this.feed.first(restoreExportStream(exportId), (event) => ANSWERABLE.has(event.type), START_PATIENCE_MS);
    const event = asDomainEvent<RestoreExportEvent>(reached);
    if (event.type === 'RestoreExportFailed') {
      throw new DomainError('unavailable', event.data.code, `Export ${exportId} could not be started: ${event.data.detail}`, { export_id: exportId });
    }
    return { export_id: exportId, position: reached.position };
  }

  /** Serialized with the deletion of restore points of the same VM. */
  private async request(exportId: string, command: StartRestoreExport): Promise<void> {
    const { backupId, diskIndex, mode, allowDamaged, context, heldBy } = command;
    // Reading files may take long, so it precedes the lock.
    const { vm_id } = await this.readable(command);
    await this.mutex.runExclusive(vmLock(vm_id), async () => {
      const backup = await this.restorePoint(command);
      refuseDamaged(backup, allowDamaged);
      const disk = backup.disks.find(({ disk_id }) => disk_id === diskIndex);
      if (disk === undefined) {
        throw new DomainError(
          'invalid',
          'restore_disk_not_found',
          `Backup ${backupId} has no disk ${diskIndex}. It has ${backup.disks.length} disks, numbered from 0.`,
          {
            disk_index: diskIndex,
          },
        );
      }
      const repository = await repositoryOf(this.dataSource, backup);
      await this.files.checkPresent(repository.repository_id, repository.path);
      await this.files.checkChain(repository.path, (await sourcesOf(this.dataSource, backup))(diskIndex), allowDamaged);
      await this.recorder.record(
        exportId,
        {
          kind: 'request',
          data: {
            export_id: exportId,
            backup_id: backupId,
            repository_id: repository.repository_id,
            vm_id: backup.vm_id,
            vm_name: backup.vm_name,
            disk_index: diskIndex,
            mode,
            export_name: restoreExportName(backup.vm_name, diskIndex, exportId),
            ...(allowDamaged ? { allow_damaged: true } : {}),
            file: join(repository.path, backup.folder ?? '', disk.file),
            requested_at: this.clock.iso(),
            expires_at: new Date(this.clock.now().getTime() + this.config.restoreExportIdleSeconds * 1000).toISOString(),
            ...(heldBy === null ? {} : { held_by: heldBy }),
          },
        },
        context,
      );
    });
  }

  private async readable(command: StartRestoreExport): Promise<BackupReadModel> {
    const { diskIndex, allowDamaged } = command;
    const backup = await this.restorePoint(command);
    refuseDamaged(backup, allowDamaged);
    // request() refuses an unknown disk.
    if (!backup.disks.some(({ disk_id }) => disk_id === diskIndex)) return backup;
    const repository = await repositoryOf(this.dataSource, backup);
    await this.files.checkPresent(repository.repository_id, repository.path);
    const sources = (await sourcesOf(this.dataSource, backup))(diskIndex);
    await this.guard.open(repository.path, sources, { allowDamaged, patienceMs: REQUEST_PATIENCE_MS });
    return backup;
  }

  private restorePoint(command: StartRestoreExport): Promise<BackupReadModel> {
    return restorableBackup(this.readModels, this.dataSource, this.files, command.backupId, command);
  }
}
