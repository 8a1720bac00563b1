import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { MarkCopyDamaged } from '../model/copy.commands.js';
import { CopyRecorder } from '../model/copy.recorder.js';

@CommandHandler(MarkCopyDamaged)
export class MarkCopyDamagedHandler implements ICommandHandler<MarkCopyDamaged> {
  private readonly log = loggerFor('MarkCopyDamaged');

  constructor(
    private readonly recorder: CopyRecorder,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  async execute({ backupId, repositoryId, damage, context }: MarkCopyDamaged): Promise<void> {
    await this.readModels.current('copies');
    const found = await this.dataSource.getRepository(CopyReadModel).findOneBy({ backup_id: backupId, repository_id: repositoryId, status: 'completed' });
    if (found === null || found.damage !== null) return;
    const data = { ...damage, ranges: damage.ranges ?? [], verification_id: damage.verification_id ?? null, detected_at: this.clock.iso() };
    await this.recorder.record(found.copy_id, { kind: 'damaged', data }, context);
    this.log.warn('a copy is damaged: a file differs from what was copied', { copy_id: found.copy_id, backup_id: backupId, ...damage });
  }
}
