import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { MarkCopyDamaged, RecordCheckedCopy } from '../../../repositories/copies/model/copy.commands.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { damageCodeOf, MarkRestorePointDamaged, MarkRestorePointHealed } from '../../chains/model/chain.commands.js';
import type { VerificationFinding } from '../model/verification.events.js';
import type { KnownVerification } from '../model/verification.state.js';

const OF_A_COPY = { parent_missing: 'file_missing', parent_truncated: 'file_truncated', parent_altered: 'file_altered' } as const;

/** Records what a verification has found, at each restore point that it read: in its chain, or in its copy. */
@Injectable()
export class RecordVerdicts {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  async record({ request, healings }: KnownVerification, findings: readonly VerificationFinding[], newContext: () => CommandContext): Promise<void> {
    const { repository_id, verification_id, chain_id, heal } = request;
    await this.readModels.current('backups');
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: request.backup_id });
    const isCopy = backup !== null && backup.repository_id !== repository_id;
    for (const { backup_id, code, detail, file, ranges } of findings) {
      const damage = { code: damageCodeOf(code), detail, file, verification_id };
      if (isCopy) {
        const ofCopy = { ...damage, code: OF_A_COPY[damage.code], ranges: ranges ?? [] };
        await this.commands.execute(new MarkCopyDamaged(backup_id, repository_id, ofCopy, newContext()));
      } else await this.commands.execute(new MarkRestorePointDamaged(chain_id, backup_id, damage, newContext()));
    }
    const damaged = new Set(findings.map(({ backup_id }) => backup_id));
    for (const { backup_id } of request.points) {
      if (damaged.has(backup_id)) continue;
      const files = healings.filter((healing) => healing.backup_id === backup_id).flatMap((healing) => healing.files);
      if (isCopy) {
        await this.commands.execute(new RecordCheckedCopy(backup_id, repository_id, verification_id, heal === true ? files : null, newContext()));
      } else if (heal === true) {
        const healing = { repository_id, files, verification_id, healed_at: this.clock.iso() };
        await this.commands.execute(new MarkRestorePointHealed(chain_id, backup_id, healing, newContext()));
      }
    }
  }
}
