import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';

/** Shorter than the time after which the health check itself is given up. */
const PATIENCE_MS = 1_500;
const NOT_YET = Symbol('not yet');

/** Reports repositories that cannot be written to. The hub stays ready: everything else works, and backups into other repositories continue. */
@Injectable()
export class RepositoriesHealth implements OnModuleInit {
  private readonly log = loggerFor('RepositoriesHealth');
  /** Repositories whose problem was logged. */
  private readonly told = new Set<string>();
  /** Checks in progress, by repository; a slow one is not started again. */
  private readonly looks = new Map<string, Promise<string | null>>();

  constructor(
    private readonly checks: HealthChecks,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
  ) {}

  onModuleInit(): void {
    this.checks.register({ name: 'repositories', required: false, check: () => this.check() });
  }

  private async check(): Promise<void> {
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find({ order: { name: 'ASC' } });
    const problems = await Promise.all(repositories.map(async (repository) => this.problemOf(repository)));
    const bad = problems.filter((problem) => problem !== null).length;
    if (bad === 0) return;
    // This answer is public and therefore contains no names.
    throw new DomainError(
      'unavailable',
      'repository_unavailable',
      `${bad} of ${repositories.length} repositories cannot be used; see GET /repositories/{id}/storage.`,
    );
  }

  private async problemOf(repository: RepositoryReadModel): Promise<string | null> {
    const { promise: patience, resolve } = Promise.withResolvers<typeof NOT_YET>();
    const { repository_id, name } = repository;
    const timer = setTimeout(() => resolve(NOT_YET), PATIENCE_MS);
    try {
      const found = await Promise.race([this.look(repository), patience]);
      const problem = found === NOT_YET ? `Repository "${name}" does not answer.` : found;
      if ((problem === null) === this.told.has(repository_id)) {
        if (problem === null) this.log.info('a repository can be used again', { repository_id, name });
        else this.log.warn('a repository cannot be used', { repository_id, name, problem });
        if (problem === null) this.told.delete(repository_id);
        else this.told.add(repository_id);
      }
      return problem;
    } finally {
      clearTimeout(timer);
    }
  }

  private look({ repository_id, path }: RepositoryReadModel): Promise<string | null> {
    const underWay = this.looks.get(repository_id);
    if (underWay !== undefined) return underWay;
    const look = this.files
      .checkAvailable(repository_id, path)
      .then(() => null, messageOf)
      .finally(() => this.looks.delete(repository_id));
    this.looks.set(repository_id, look);
    return look;
  }
}
