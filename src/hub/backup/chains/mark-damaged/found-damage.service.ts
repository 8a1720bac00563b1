import { Injectable, type OnModuleInit } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { repositoryOf } from '../../backups/model/restore-points.reader.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { MarkCopyDamaged } from '../../../repositories/copies/model/copy.commands.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ChainGuard, type FoundDamage } from '../../../repositories/repository-storage/chain-guard.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { damageCodeOf, MarkRestorePointDamaged } from '../model/chain.commands.js';

/**
 * Marks restore points that the chain guard finds damaged while serving a request. Damage is then known without a verification, and no incremental is based
 * on it.
 */
@Injectable()
export class FoundDamageService implements OnModuleInit {
  private readonly log = loggerFor('FoundDamage');

  constructor(
    private readonly guard: ChainGuard,
    private readonly files: RepositoryFiles,
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly ids: Ids,
  ) {}

  onModuleInit(): void {
    this.guard.onDamage((found) => this.note(found).catch((error: unknown) => this.log.error('could not mark a damaged restore point', { ...found, error })));
  }

  private async note({ repository_path, backup_id, file, reason, detail }: FoundDamage): Promise<void> {
    await this.readModels.current('backups');
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id });
    if (backup !== null && (await this.noteOfCopy(backup, repository_path, { code: reason, file, detail }))) return;
    // Missing files of a restore point that is being deleted are not damage, and a marked restore point needs no second mark.
    if (backup === null || backup.chain_id === null || backup.status !== 'completed' || backup.damage !== null) return;
    // Neither are missing files in a repository that has become unavailable.
    if (reason === 'file_missing') await this.files.checkPresent((await repositoryOf(this.dataSource, backup)).repository_id, repository_path);
    const finding = { code: damageCodeOf(reason), detail, file, verification_id: null };
    const context = { commandId: this.ids.next(), correlationId: this.ids.next(), actor: 'system:chain-guard' };
    await this.commands.execute(new MarkRestorePointDamaged(backup.chain_id, backup_id, finding, context));
    this.log.warn('a restore point is damaged: a file differs from what was sealed', { backup_id, vm_name: backup.vm_name, file, reason, detail });
  }
  /** @returns whether the file is that of a copy in another repository */
  private async noteOfCopy(
    { backup_id, repository_id }: BackupReadModel,
    path: string,
    damage: { readonly code: FoundDamage['reason']; readonly file: string; readonly detail: string },
  ): Promise<boolean> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ path });
    if (repository === null || repository.repository_id === repository_id) return false;
    if (damage.code === 'file_missing') await this.files.checkPresent(repository.repository_id, path);
    const context = { commandId: this.ids.next(), correlationId: this.ids.next(), actor: 'system:chain-guard' };
    await this.commands.execute(new MarkCopyDamaged(backup_id, repository.repository_id, damage, context));
    return true;
  }
}
