import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { KeyedMutex, repositoryUseLock, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RequestCopy, type RequestedCopy } from '../model/copy.commands.js';
import { copyStream } from '../model/copy.events.js';
import { copyDecider } from '../model/copy.state.js';
import { decideRequestCopy } from './request-copy.decide.js';

const decider = copyDecider(decideRequestCopy);

/** Copies that are restore points, or become one. */
export const STANDING_COPIES = ['pending', 'running', 'completed'] as const;

@CommandHandler(RequestCopy)
export class RequestCopyHandler implements ICommandHandler<RequestCopy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
  ) {}

  /** Serialised with the deletion of the restore point and of both repositories. */
  async execute(command: RequestCopy): Promise<RequestedCopy> {
    const copyId = copyIdOf(command.context, command.backupId);
    const known = await this.runner.load(copyStream(copyId), decider);
    if (known.state.status !== 'none') return { copy_id: copyId, position: known.position };
    await this.readModels.current('backups');
    const { vm_id } = await this.backup(command.backupId);
    return this.mutex.runExclusive(vmLock(vm_id), () => this.mutex.runExclusive(repositoryUseLock(command.repositoryId), () => this.request(command)));
  }

  private async request(command: RequestCopy): Promise<RequestedCopy> {
    await this.readModels.current('backups', 'repositories', 'copies');
    const target = await this.repository(command.repositoryId);
    const lineage = [await this.backup(command.backupId)];
    for (let parent = lineage[0]?.parent_backup_id ?? null; command.withParents && parent !== null; parent = lineage[0]?.parent_backup_id ?? null) {
      lineage.unshift(await this.backup(parent));
    }
    const existing = new Map(
      (
        await this.dataSource.getRepository(CopyReadModel).findBy({
          backup_id: In(lineage.map(({ backup_id }) => backup_id)),
          repository_id: command.repositoryId,
          status: In([...STANDING_COPIES]),
        })
      ).map((copy) => [copy.backup_id, { copy_id: copy.copy_id, status: copy.status, damaged: copy.damage !== null }]),
    );
    let requested: RequestedCopy = { copy_id: '', position: null };
    for (const backup of lineage) {
      const isAsked = backup.backup_id === command.backupId;
      if (!isAsked && existing.has(backup.backup_id)) continue;
      requested = await this.record(command, backup, target, existing.get(backup.backup_id) ?? null);
    }
    return requested;
  }

  private async record(
    { context, policyId, bandwidthLimitBps }: RequestCopy,
    backup: BackupReadModel,
    target: RepositoryReadModel,
    existing: { readonly copy_id: string; readonly status: string; readonly damaged: boolean } | null,
  ): Promise<RequestedCopy> {
    const copyId = copyIdOf(context, backup.backup_id);
    const source = await this.repository(backup.repository_id);
    const request = {
      copy_id: copyId,
      backup_id: backup.backup_id,
      vm_id: backup.vm_id,
      vm_name: backup.vm_name,
      chain_id: backup.chain_id ?? '',
      source_repository_id: source.repository_id,
      source_repository_path: source.path,
      repository_id: target.repository_id,
      repository_path: target.path,
      policy_id: policyId,
      bandwidth_limit_bps: bandwidthLimitBps,
      requested_at: this.clock.iso(),
    };
    const own = { ...context, commandId: derivedId(`request-copy/${context.commandId}/${backup.backup_id}`) };
    const { position } = await this.runner.run(copyStream(copyId), decider, { request, backup_status: backup.status, existing }, own);
    return { copy_id: copyId, position };
  }

  private async backup(backupId: string): Promise<BackupReadModel> {
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId });
    if (backup === null) throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
    return backup;
  }

  private async repository(repositoryId: string): Promise<RepositoryReadModel> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: repositoryId });
    if (repository === null) {
      throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repositoryId}.`, { repository_id: repositoryId });
    }
    return repository;
  }
}

/** The same command always requests the same copies. */
function copyIdOf({ commandId }: CommandContext, backupId: string): string {
  return derivedId(`copy/${commandId}/${backupId}`);
}
