import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { LockReader } from '../../../repositories/repositories/model/lock.reader.js';
import { copiesReading } from '../../../repositories/copies/model/copies-under-way.reader.js';
import { ACTIVE_MOUNTS } from '../../../restore/restore-mounts/model/active-mounts.reader.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import type { Position } from '../../../../kernel/position.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { DeleteBackup } from '../model/backup.commands.js';
import { backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideDeleteBackup } from './delete-backup.decide.js';

const decider = backupDecider(decideDeleteBackup);

const READ_MODELS = ['backups', 'restore_mounts', 'restore_jobs', 'restore_exports', 'copies'] as const;
/** How long the response waits for the files to be removed. Removal continues afterwards. */
const REMOVAL_PATIENCE_MS = 20_000;
/** How long it waits for the attributes of the files. */
const LOOK_MS = 2_000;

@CommandHandler(DeleteBackup)
export class DeleteBackupHandler implements ICommandHandler<DeleteBackup> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly mutex: KeyedMutex,
    private readonly locks: LockReader,
  ) {}

  /** Serialised with planning and mounting: while a restore point is being deleted, no incremental is planned on it and it is not mounted. */
  async execute(command: DeleteBackup): Promise<{ position: Position | null }> {
    const { state } = await this.runner.load(backupStream(command.backupId), decider);
    const vmId = state.status === 'none' ? '' : state.run.request.vm_id;
    const outcome = await this.mutex.runExclusive(vmLock(vmId), async () => {
      await this.readModels.current(...READ_MODELS);
      const standing = await this.dataSource
        .getRepository(BackupReadModel)
        .findBy({ parent_backup_id: command.backupId, status: In(['running', 'completed']) });
      const mounts = await this.dataSource.getRepository(RestoreMountReadModel).findBy({ backup_id: command.backupId, status: In([...ACTIVE_MOUNTS]) });
      const row = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: command.backupId });
      const used_by = [...standing.map((row) => row.backup_id), ...(await this.restoresFrom(command.backupId))];
      return this.runner.run(
        backupStream(command.backupId),
        decider,
        {
          kind: 'delete-backup',
          backup_id: command.backupId,
          deleted_at: this.clock.iso(),
          used_by,
          mounted_as: mounts.map((row) => row.mount_id),
          only_expired: command.onlyExpired,
          locked_until: row?.locked_until?.toISOString() ?? null,
          immutable: row !== null && (await this.isImmutable(row)),
        },
        command.context,
      );
    });
    const removed = await this.feed
      .first(backupStream(command.backupId), (event) => event.type === 'RestorePointFilesRemoved', REMOVAL_PATIENCE_MS)
      .catch(() => null);
    return { position: removed?.position ?? outcome.position };
  }

  /** Not while the storage does not answer: the removal of the files then waits for it, and for the keeper. */
  private async isImmutable(row: BackupReadModel): Promise<boolean> {
    const read = await this.locks.read(row, LOOK_MS);
    return read === 'all' || read === 'some';
  }

  /** Restore jobs, restore exports and copies that currently read from the restore point. */
  private async restoresFrom(backupId: string): Promise<readonly string[]> {
    const [jobs, exports, copies] = await Promise.all([
      this.dataSource.getRepository(RestoreJobReadModel).findBy({ backup_id: backupId, cleaned_up: false }),
      this.dataSource.getRepository(RestoreExportReadModel).findBy({ backup_id: backupId, cleaned_up: false }),
      copiesReading(this.dataSource, [backupId], this.clock.now()),
    ]);
    return [...jobs.map(({ job_id }) => `restore job ${job_id}`), ...exports.map(({ export_id }) => `restore export ${export_id}`), ...copies];
  }
}
