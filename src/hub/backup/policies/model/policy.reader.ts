import { Injectable } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { BlackoutReadModel } from '../../../../../projections/blackouts/blackouts.read-model.js';
import { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import type { OptOut, PolicySettings } from './policy.events.js';
import { policyNotFound } from './policy.commands.js';
import type { PolicyFacts } from './policy-rules.decide.js';
import { type Selection, select } from './selection.plan.js';
import type { RunSettings } from './start-window.plan.js';

export interface Selector {
  readonly vms: readonly VmReadModel[];
  readonly at: (at: string) => Selection;
  /** At whose ends the selection changes. */
  readonly optOuts: readonly OptOut[];
}

/** Policies, oldest first, and VMs by name, as they are at one moment. */
export interface PolicySnapshot {
  readonly policies: readonly PolicyReadModel[];
  readonly vms: readonly VmReadModel[];
}

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

  async factsFor(policyId: string, { repository_id, copies = [] }: PolicySettings, at: string): Promise<PolicyFacts> {
    const others = (await this.all()).filter(({ policy_id }) => policy_id !== policyId).map(({ settings }) => settings);
    const targets = copies.map((rule) => rule.repository_id);
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).findBy({ repository_id: In([repository_id, ...targets]) });
    const known = new Set(repositories.map((repository) => repository.repository_id));
    const repository_exists = known.has(repository_id);
    const unknown_copy_targets = targets.filter((id) => !known.has(id));
    const blackouts = await this.dataSource.getRepository(BlackoutReadModel).find({ select: { blackout_id: true } });
    return { vms: await this.vms(), others, repository_exists, unknown_copy_targets, blackout_ids: blackouts.map(({ blackout_id }) => blackout_id), at };
  }

  /** The settings with the blackouts that they refer to, as these are now. */
  async withBlackouts(settings: PolicySettings): Promise<RunSettings> {
    const { blackout_ids = [] } = settings;
    if (blackout_ids.length === 0) return settings;
    const rows = await this.dataSource.getRepository(BlackoutReadModel).findBy({ blackout_id: In([...blackout_ids]) });
    const shared_blackouts = rows.map(({ settings: { time_zone, effect, dates, weekly } }) => ({ time_zone, effect, dates, weekly }));
    return { ...settings, shared_blackouts };
  }

  /** The VMs that the policy backs up, without those that an earlier policy backs up into the same repository. */
  async selection(policyId: string, settings: PolicySettings, at: string): Promise<Selection> {
    return (await this.selector(policyId, settings)).at(at);
  }

  /** All VMs, and which of them the policy backs up at an instant, by the VMs and policies of now. */
  async selector(policyId: string, settings: PolicySettings): Promise<Selector> {
    return selectorIn(await this.snapshot(), policyId, settings);
  }

  async snapshot(): Promise<PolicySnapshot> {
    return { policies: await this.all(), vms: await this.vms() };
  }

  private vms(): Promise<readonly VmReadModel[]> {
    return this.dataSource.getRepository(VmReadModel).find({ order: { name: 'ASC' } });
  }
}

export function selectorIn({ policies, vms }: PolicySnapshot, policyId: string, settings: PolicySettings): Selector {
  const place = policies.findIndex(({ policy_id }) => policy_id === policyId);
  const earlier = policies.slice(0, Math.max(0, place)).map((policy) => policy.settings);
  return { vms, at: (at) => select(settings, vms, at, earlier), optOuts: [settings, ...earlier].flatMap(({ opt_outs }) => opt_outs) };
}
