import { DataSource, In } from 'typeorm';
import { Injectable } from '@nestjs/common';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { mountOf, mountTable } from '../../../../lib/files/mount-table.js';
import { planPruning, type PrunePlan } from '../../../../storage/pruning/prune-chains.plan.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { copiesReading } from '../../../repositories/copies/model/copies-under-way.reader.js';
import { ACTIVE_MOUNTS } from '../../../restore/restore-mounts/model/active-mounts.reader.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { ChainPruning } from './chain.commands.js';

/** File systems on which `cp --reflink` shares the blocks of a copy. */
export const SHARING: readonly string[] = ['xfs', 'btrfs'];

/** A restore point of which only the length of all its files together is known. */
export interface OutlinedPoint {
  readonly backup_id: string;
  readonly parent_backup_id: string | null;
  readonly expired: boolean;
  readonly rewritable: boolean;
  readonly bytes: number;
}

/** The plan for a chain in a repository with space enough. */
export function planOutlined(points: readonly OutlinedPoint[], sharesBlocks: boolean): Omit<ChainPruning, 'chain_id' | 'repository_id'> {
  const { new_bytes, steps, ...plan } = planPruning(
    points.map(({ bytes, ...point }) => ({ ...point, files: [{ disk_id: 0, size_bytes: bytes, has_backing: point.parent_backup_id !== null }] })),
    Number.MAX_SAFE_INTEGER,
    sharesBlocks,
  );
  return { ...plan, needed_bytes: new_bytes, steps: steps.map((step) => ({ parent_backup_id: null, merged: [], ...step })) };
}

/** A chain with all that pruning needs to know of it. */
export interface PrunableChain {
  readonly chain: ChainReadModel;
  readonly repositoryPath: string;
  /** Backups that still have their files, by id. */
  readonly backups: ReadonlyMap<string, BackupReadModel>;
}

export function isLocked({ locked_until }: Pick<BackupReadModel, 'locked_until'>, now: Date): boolean {
  return locked_until !== null && locked_until > now;
}

/** @throws DomainError restore_point_locked */
export function refuseLocked(backup: Pick<BackupReadModel, 'backup_id' | 'locked_until'>, now: Date): void {
  if (!isLocked(backup, now)) return;
  const { backup_id } = backup;
  const locked_until = backup.locked_until?.toISOString() ?? null;
  const message = `Restore point ${backup_id} can be neither removed nor rewritten because it is locked until ${locked_until}.`;
  throw new DomainError('conflict', 'restore_point_locked', message, { backup_id, locked_until });
}

@Injectable()
export class PrunableChains {
  constructor(
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
    private readonly files: RepositoryFiles,
    private readonly clock: Clock,
  ) {}

  /** @returns null: there is no such chain @throws DomainError repository_not_found */
  async find(chainId: string): Promise<PrunableChain | null> {
    await this.readModels.current('backups', 'chains', 'repositories');
    const chain = await this.dataSource.getRepository(ChainReadModel).findOneBy({ chain_id: chainId });
    if (chain === null) return null;
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: chain.repository_id });
    if (repository === null) throw new DomainError('not_found', 'repository_not_found', `The repository ${chain.repository_id} was removed.`);
    const ids = chain.points.map(({ backup_id }) => backup_id);
    const rows = await this.dataSource.getRepository(BackupReadModel).findBy({ backup_id: In(ids), status: 'completed' });
    return { chain, repositoryPath: repository.path, backups: new Map(rows.map((row) => [row.backup_id, row])) };
  }

  /** @throws DomainError prune_needs_space, repository_unavailable */
  async plan({ chain, repositoryPath, backups }: PrunableChain, remove: readonly string[]): Promise<PrunePlan> {
    await this.files.checkAvailable(chain.repository_id, repositoryPath);
    const points = chain.points.flatMap(({ backup_id, parent_backup_id, damage }) => {
      const backup = backups.get(backup_id);
      if (backup === undefined) return [];
      const sizes = new Map((backup.files ?? []).map(({ disk_id, size_bytes }) => [disk_id, size_bytes]));
      const files = backup.disks.map(({ disk_id, parent_file }) => ({ disk_id, size_bytes: sizes.get(disk_id) ?? 0, has_backing: parent_file !== null }));
      // The files of a locked one cannot be replaced, and its ancestors are locked for at least as long.
      const rewritable = damage === null && !isLocked(backup, this.clock.now());
      return [{ backup_id, parent_backup_id, expired: remove.includes(backup_id), rewritable, files }];
    });
    const type = mountOf(repositoryPath, await mountTable())?.filesystemType ?? '';
    return planPruning(points, await this.files.freeBytes(repositoryPath), SHARING.includes(type));
  }

  /** What reads files of the chain or writes a new restore point on it, in words; null: nothing. */
  async usedBy({ backups, chain }: PrunableChain): Promise<string | null> {
    await this.readModels.current('backups', 'restore_mounts', 'restore_jobs', 'restore_exports', 'verifications', 'copies');
    const backup_id = In([...backups.keys()]);
    const mount = await this.dataSource.getRepository(RestoreMountReadModel).findOneBy({ backup_id, status: In([...ACTIVE_MOUNTS]) });
    if (mount !== null) return `mount ${mount.mount_id}`;
    const job = await this.dataSource.getRepository(RestoreJobReadModel).findOneBy({ backup_id, cleaned_up: false });
    if (job !== null) return `restore job ${job.job_id}`;
    const served = await this.dataSource.getRepository(RestoreExportReadModel).findOneBy({ backup_id, cleaned_up: false });
    if (served !== null) return `restore export ${served.export_id}`;
    const verification = await this.dataSource.getRepository(VerificationReadModel).findOneBy({ backup_id, status: 'running' });
    if (verification !== null) return `verification ${verification.verification_id}`;
    const [copy] = await copiesReading(this.dataSource, [...backups.keys()], this.clock.now());
    if (copy !== undefined) return copy;
    const running = await this.dataSource.getRepository(BackupReadModel).findOneBy({ chain_id: chain.chain_id, status: 'running' });
    return running === null ? null : `backup ${running.backup_id}`;
  }
}
