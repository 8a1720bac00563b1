import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { type Immutable, lockLevel, type LockLevel } from './lock-level.plan.js';

/** A restore point, or a copy of one. */
export interface LockedFiles {
  readonly repository_id: string;
  /** Relative to the repository; null: it has no files. */
  readonly folder: string | null;
  readonly disks: readonly { readonly file: string }[] | null;
}

/** Reads whether the files of restore points are immutable now. */
@Injectable()
export class LockReader {
  private readonly log = loggerFor('LockReader');

  constructor(
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly clock: Clock,
  ) {}

  /** Never rejects. @param lockedUntil null: it was never locked */
  async level(of: LockedFiles, lockedUntil: Date | null, patienceMs: number): Promise<{ readonly level: LockLevel; readonly immutable: Immutable }> {
    const immutable = await this.read(of, patienceMs);
    return { level: lockLevel(lockedUntil, immutable, this.clock.now()), immutable };
  }

  /** Never rejects. @param patienceMs after which the answer is `unknown` */
  async read({ repository_id, folder, disks }: LockedFiles, patienceMs: number): Promise<Immutable> {
    if (folder === null) return 'none';
    const { promise: late, resolve } = Promise.withResolvers<Immutable>();
    const timer = setTimeout(() => resolve('unknown'), patienceMs);
    try {
      return await Promise.race([this.look(repository_id, folder, disks ?? []), late]);
    } catch (error) {
      this.log.debug('could not read the attributes of a restore point', { repository_id, folder, problem: messageOf(error) });
      return 'unknown';
    } finally {
      clearTimeout(timer);
    }
  }

  private async look(repositoryId: string, folder: string, disks: readonly { readonly file: string }[]): Promise<Immutable> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: repositoryId });
    if (repository === null) return 'unknown';
    await this.files.checkPresent(repositoryId, repository.path);
    return this.files.immutabilityOf(
      repository.path,
      folder,
      disks.map(({ file }) => file),
    );
  }
}
