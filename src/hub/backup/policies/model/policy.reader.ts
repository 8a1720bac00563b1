import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import type { PolicySettings } from './policy.events.js';
import { policyNotFound } from './policy.commands.js';
import type { PolicyFacts } from './policy-rules.decide.js';
import { type Selection, type SelectableVm, select } from './selection.plan.js';

/** Looks up policies, and the VMs that they select. */
@Injectable()
export class PolicyReader {
  constructor(private readonly dataSource: DataSource) {}

  /** @throws DomainError policy_not_found */
  async one(policyId: string): Promise<PolicyReadModel> {
    const policy = await this.dataSource.getRepository(PolicyReadModel).findOneBy({ policy_id: policyId });
    if (policy === null) throw policyNotFound(policyId);
    return policy;
  }

  /** Oldest first. */
  all(): Promise<readonly PolicyReadModel[]> {
    return this.dataSource.getRepository(PolicyReadModel).find({ order: { created_position: 'ASC' } });
  }

  async factsFor(policyId: string, { repository_id }: PolicySettings, at: string): Promise<PolicyFacts> {
    const others = (await this.all()).filter(({ policy_id }) => policy_id !== policyId).map(({ settings }) => settings);
    const repository_exists = await this.dataSource.getRepository(RepositoryReadModel).existsBy({ repository_id });
    return { vms: await this.vms(), others, repository_exists, at };
  }

  /** The VMs that the policy backs up, without those that an earlier policy backs up into the same repository. */
  async selection(policyId: string, settings: PolicySettings, at: string): Promise<Selection> {
    const all = await this.all();
    const place = all.findIndex(({ policy_id }) => policy_id === policyId);
    const earlier = all.slice(0, Math.max(0, place)).map((policy) => policy.settings);
    return select(settings, await this.vms(), at, earlier);
  }

  private vms(): Promise<readonly SelectableVm[]> {
    return this.dataSource.getRepository(VmReadModel).find({ order: { name: 'ASC' } });
  }
}
