import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { NodeReadModel } from '../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../kernel/domain-error.js';
import { HealthChecks } from '../../../lib/http/health-checks.js';

/** Reports nodes that do not answer. The hub stays ready: everything else works, and other nodes continue. */
@Injectable()
export class NodesHealth implements OnModuleInit {
  constructor(
    private readonly checks: HealthChecks,
    private readonly dataSource: DataSource,
  ) {}

  onModuleInit(): void {
    this.checks.register({
      name: 'nodes',
      required: false,
      check: async () => {
        const silent = await this.dataSource.getRepository(NodeReadModel).findBy({ state: In(['unknown', 'unreachable']) });
        if (silent.length === 0) return;
        throw new DomainError('unavailable', 'node_unreachable', `${silent.length} node(s) do not answer; see GET /nodes.`);
      },
    });
  }
}
