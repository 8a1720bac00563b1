import { Injectable } from '@nestjs/common';
import { DataSource, In, IsNull } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { obstacleOf, type RunFacts } from './begin-run.plan.js';
import type { PolicySettings } from './policy.events.js';
import { PolicyReader, type PolicySnapshot, selectorIn } from './policy.reader.js';
import type { Choice } from './selection.plan.js';

/** What the runs share that begin at one look: read once, however many they are. */
export interface RunLook extends PolicySnapshot {
  /** By id, the obstacle of each repository that has been looked at. */
  readonly repositories: Map<string, Promise<RunFacts['obstacle']>>;
}

/** Looks up what the start of a run depends on. */
@Injectable()
export class RunFactsReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
    private readonly policies: PolicyReader,
    private readonly files: RepositoryFiles,
  ) {}

  async look(): Promise<RunLook> {
    await this.readModels.current('policies', 'vms', 'nodes', 'repositories');
    return { ...(await this.policies.snapshot()), repositories: new Map() };
  }

  async gather(look: RunLook, policyId: string, settings: PolicySettings, now: string): Promise<RunFacts> {
    const { vms, left_out } = selectorIn(look, policyId, settings).at(now);
    return { vms, left_out, obstacle: await this.obstacle(look, policyId, settings, vms) };
  }

  private async obstacle(look: RunLook, policyId: string, { repository_id }: PolicySettings, vms: readonly Choice[]): Promise<RunFacts['obstacle']> {
    await this.readModels.current('policy_occurrences');
    const occurrences = this.dataSource.getRepository(PolicyOccurrenceReadModel);
    const running = await occurrences.findOneBy({ policy_id: policyId, outcome: In(['started', 'caught_up']), finished_at: IsNull() });
    const obstacle = obstacleOf(vms, running);
    if (obstacle !== null) return obstacle;
    let repository = look.repositories.get(repository_id);
    if (repository === undefined) look.repositories.set(repository_id, (repository = this.repositoryObstacle(repository_id)));
    return (await repository) ?? ((await this.anyNodeOnline(look, vms)) ? null : NODE_OFFLINE);
  }

  private async repositoryObstacle(repositoryId: string): Promise<RunFacts['obstacle']> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: repositoryId });
    if (repository === null) return { reason: 'repository_unavailable', detail: `Repository ${repositoryId} was deleted.` };
    try {
      await this.files.checkPresent(repositoryId, repository.path);
      return null;
    } catch (error) {
      if (error instanceof DomainError) return { reason: 'repository_unavailable', detail: error.message };
      throw error;
    }
  }

  private async anyNodeOnline(look: RunLook, vms: readonly Choice[]): Promise<boolean> {
    const ids = new Set(vms.map(({ vm_id }) => vm_id));
    const nodeIds = new Set(look.vms.flatMap(({ vm_id, node_id }) => (ids.has(vm_id) ? [node_id] : [])));
    const nodes = await this.dataSource.getRepository(NodeReadModel).findBy({ node_id: In([...nodeIds]) });
    return nodes.some(({ state }) => state !== 'unreachable');
  }
}

const NODE_OFFLINE = { reason: 'node_offline', detail: 'No node of the selected VMs could be reached.' } as const;
