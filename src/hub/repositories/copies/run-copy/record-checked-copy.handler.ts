import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RecordCheckedCopy } from '../model/copy.commands.js';
import { CopyRecorder } from '../model/copy.recorder.js';

@CommandHandler(RecordCheckedCopy)
export class RecordCheckedCopyHandler implements ICommandHandler<RecordCheckedCopy> {
  private readonly log = loggerFor('RecordCheckedCopy');

  constructor(
    private readonly recorder: CopyRecorder,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  async execute({ backupId, repositoryId, verificationId, healed, context }: RecordCheckedCopy): Promise<void> {
    await this.readModels.current('copies');
    const found = await this.dataSource.getRepository(CopyReadModel).findOneBy({ backup_id: backupId, repository_id: repositoryId, status: 'completed' });
    if (found === null) return;
    const at = this.clock.iso();
    if (found.damage !== null && healed !== null) {
      const data = { files: healed, verification_id: verificationId, healed_at: at };
      await this.recorder.record(found.copy_id, { kind: 'healed', data }, context);
      this.log.info('the files of a damaged copy are sound again', { copy_id: found.copy_id, backup_id: backupId, repository_id: repositoryId, files: healed });
      return;
    }
    await this.recorder.record(found.copy_id, { kind: 'checked', verification_id: verificationId, at }, context);
  }
}
