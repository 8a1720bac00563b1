import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryCapacityReadModel } from '../../../../../projections/repository-capacity/repository-capacity.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';

/** Reports repositories above their critical threshold. The hub stays ready. */
@Injectable()
export class CapacityHealth implements OnModuleInit {
  constructor(
    private readonly checks: HealthChecks,
    private readonly dataSource: DataSource,
  ) {}

  onModuleInit(): void {
    this.checks.register({ name: 'repository_capacity', required: false, check: () => this.check() });
  }

  private async check(): Promise<void> {
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find({ select: { repository_id: true } });
    const critical = await this.dataSource.getRepository(RepositoryCapacityReadModel).findBy({ level: 'critical' });
    const known = new Set(repositories.map(({ repository_id }) => repository_id));
    const full = critical.filter(({ repository_id }) => known.has(repository_id)).length;
    if (full === 0) return;
    // This answer is public and therefore contains no names.
    const message = `${full} of ${repositories.length} repositories are nearly full; see GET /repositories/{id}/capacity.`;
    throw new DomainError('unavailable', 'repository_nearly_full', message);
  }
}
