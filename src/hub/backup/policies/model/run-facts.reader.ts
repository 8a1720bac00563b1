import { Injectable } from '@nestjs/common';
import { DataSource, In, IsNull } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { obstacleOf, type RunFacts } from './begin-run.plan.js';
import type { PolicySettings } from './policy.events.js';
import { PolicyReader } from './policy.reader.js';
import type { Choice } from './selection.plan.js';

/** Looks up what the start of a run depends on. */
@Injectable()
export class RunFactsReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly policies: PolicyReader,
    private readonly files: RepositoryFiles,
  ) {}

  async gather(policyId: string, settings: PolicySettings, now: string): Promise<RunFacts> {
    const { vms, left_out } = await this.policies.selection(policyId, settings, now);
    return { vms, left_out, obstacle: await this.obstacle(policyId, settings, vms) };
  }

  private async obstacle(policyId: string, { repository_id }: PolicySettings, vms: readonly Choice[]): Promise<RunFacts['obstacle']> {
    const occurrences = this.dataSource.getRepository(PolicyOccurrenceReadModel);
    const running = await occurrences.findOneBy({ policy_id: policyId, outcome: In(['started', 'caught_up']), finished_at: IsNull() });
    const obstacle = obstacleOf(vms, running);
    if (obstacle !== null) return obstacle;
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id });
    if (repository === null) return { reason: 'repository_unavailable', detail: `Repository ${repository_id} was deleted.` };
    try {
      await this.files.checkPresent(repository_id, repository.path);
    } catch (error) {
      if (error instanceof DomainError) return { reason: 'repository_unavailable', detail: error.message };
      throw error;
    }
    return (await this.anyNodeOnline(vms)) ? null : { reason: 'node_offline', detail: 'No node of the selected VMs could be reached.' };
  }

  private async anyNodeOnline(vms: readonly Choice[]): Promise<boolean> {
    const rows = await this.dataSource.getRepository(VmReadModel).findBy({ vm_id: In(vms.map(({ vm_id }) => vm_id)) });
    const nodes = await this.dataSource.getRepository(NodeReadModel).findBy({ node_id: In([...new Set(rows.map(({ node_id }) => node_id))]) });
    return nodes.some(({ state }) => state !== 'unreachable');
  }
}
