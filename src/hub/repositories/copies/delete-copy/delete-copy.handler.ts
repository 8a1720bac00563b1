import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { LockReader } from '../../repositories/model/lock.reader.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { ACTIVE_MOUNTS } from '../../../restore/restore-mounts/model/active-mounts.reader.js';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { DeleteCopy } from '../model/copy.commands.js';
import { copyStream } from '../model/copy.events.js';
import { copyDecider } from '../model/copy.state.js';
import { decideDeleteCopy } from './delete-copy.decide.js';

const decider = copyDecider(decideDeleteCopy);

/** How long the response waits for the files to be removed. Removal continues afterwards. */
const REMOVAL_PATIENCE_MS = 20_000;
/** How long it waits for the attributes of the files. */
const LOOK_MS = 2_000;

@CommandHandler(DeleteCopy)
export class DeleteCopyHandler implements ICommandHandler<DeleteCopy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly feed: EventFeed,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
    private readonly locks: LockReader,
  ) {}

  /** Serialised with the planning of copies that depend on it, and with everything that begins to read it. */
  async execute({ copyId, context, onlyExpired }: DeleteCopy): Promise<{ readonly position: Position | null }> {
    const { state } = await this.runner.load(copyStream(copyId), decider);
    const vmId = state.status === 'none' ? '' : state.request.vm_id;
    const { state: after, position } = await this.mutex.runExclusive(vmLock(vmId), async () => {
      const used_by = state.status === 'none' ? [] : await this.usedBy(state.request);
      const immutable = await this.isImmutable(copyId);
      return this.runner.run(
        copyStream(copyId),
        decider,
        { copy_id: copyId, deleted_at: this.clock.iso(), used_by, immutable, only_expired: onlyExpired },
        context,
      );
    });
    if (after.status !== 'deleted') return { position };
    const removed = await this.feed.first(copyStream(copyId), ({ type }) => type === 'CopyFilesRemoved', REMOVAL_PATIENCE_MS).catch(() => null);
    return { position: removed?.position ?? position };
  }

  /** Not while the storage does not answer: the removal of the files then waits for it, and for the keeper. */
  private async isImmutable(copy_id: string): Promise<boolean> {
    await this.readModels.current('copies');
    const row = await this.dataSource.getRepository(CopyReadModel).findOneBy({ copy_id });
    const read = row?.status === 'completed' ? await this.locks.read(row, LOOK_MS) : 'none';
    return read === 'all' || read === 'some';
  }

  private async usedBy({ backup_id, repository_id }: { readonly backup_id: string; readonly repository_id: string }): Promise<readonly string[]> {
    await this.readModels.current('copies', 'restore_mounts', 'restore_jobs', 'restore_exports');
    const standing = await this.dataSource
      .getRepository(CopyReadModel)
      .findBy({ parent_backup_id: backup_id, repository_id, status: In(['running', 'completed']) });
    // Exports do not say which repository they read, so what reads the restore point anywhere counts.
    const [mounts, jobs, exports] = await Promise.all([
      this.dataSource.getRepository(RestoreMountReadModel).findBy({ backup_id, repository_id, status: In([...ACTIVE_MOUNTS]) }),
      this.dataSource.getRepository(RestoreJobReadModel).findBy({ backup_id, repository_id, cleaned_up: false }),
      this.dataSource.getRepository(RestoreExportReadModel).findBy({ backup_id, cleaned_up: false }),
    ]);
    return [
      ...standing.map(({ copy_id }) => `copy ${copy_id}`),
      ...mounts.map(({ mount_id }) => `mount ${mount_id}`),
      ...jobs.map(({ job_id }) => `restore job ${job_id}`),
      ...exports.map(({ export_id }) => `restore export ${export_id}`),
    ];
  }
}
