import { Injectable, type OnModuleInit } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { repositoryOf } from '../../../../../projections/backups/restorable-backup.read-model.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ChainGuard, type FoundDamage } from '../../../repositories/repository-storage/chain-guard.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { type DamageFinding, MarkRestorePointDamaged } from '../model/chain.commands.js';

const READ_MODEL_PATIENCE_MS = 10_000;
const CODES: Readonly<Record<FoundDamage['reason'], DamageFinding['code']>> = {
  file_missing: 'parent_missing',
  file_truncated: 'parent_truncated',
  file_altered: 'parent_altered',
};

/** Marks what the guard of a repository's files finds damaged while somebody asks for it, so that it is known without a verification and nothing more is built on it. */
@Injectable()
export class FoundDamageReactor implements OnModuleInit {
  private readonly log = loggerFor('FoundDamage');

  constructor(
    private readonly guard: ChainGuard,
    private readonly files: RepositoryFiles,
    private readonly commands: CommandBus,
    private readonly store: EventStore,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly ids: Ids,
  ) {}

  onModuleInit(): void {
    this.guard.onDamage((found) =>
      this.note(found).catch((error: unknown) => this.log.error('a damaged restore point could not be marked', { ...found, error })),
    );
  }

  private async note({ repository_path, backup_id, file, reason, detail }: FoundDamage): Promise<void> {
    const head = await this.store.head();
    if (head !== null) await this.readModels.waitFor(head, READ_MODEL_PATIENCE_MS, 'backups');
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id });
    // Files of a restore point that is being deleted are no damage, and those that are marked already need no further mark.
    if (backup === null || backup.chain_id === null || backup.status !== 'completed' || backup.damage !== null) return;
    // Nor are the files of a repository that has gone away meanwhile.
    if (reason === 'file_missing') await this.files.checkPresent((await repositoryOf(this.dataSource, backup)).repository_id, repository_path);
    const finding = { code: CODES[reason], detail, file, verification_id: null };
    const context = { commandId: this.ids.next(), correlationId: this.ids.next(), actor: 'system:chain-guard' };
    await this.commands.execute(new MarkRestorePointDamaged(backup.chain_id, backup_id, finding, context));
    this.log.warn('a restore point is damaged: a file is not what was sealed', { backup_id, vm_name: backup.vm_name, file, reason, detail });
  }
}
