import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { Position } from '../../../../kernel/position.js';
import type { PolicySettings } from './policy.events.js';

export type RecordedPolicy = { readonly policy_id: string; readonly position: Position | null };

/**
 * Create a policy.
 * @throws DomainError schedule_invalid, time_zone_unknown, blackout_invalid, retention_empty, verification_empty, sign_of_life_missing,
 * repository_not_found, blackout_not_found, policy_name_taken, no_vm_matched, vm_claimed
 */
export class CreatePolicy extends Command<RecordedPolicy> {
  constructor(
    readonly settings: PolicySettings,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Replace the settings of a policy by a new version. @throws DomainError as CreatePolicy; policy_not_found, policy_changed, retention_would_expire */
export class EditPolicy extends Command<RecordedPolicy> {
  constructor(
    readonly policyId: string,
    /** The version that the edit is based on. */
    readonly version: number,
    readonly settings: PolicySettings,
    /** How many restore points may expire because of the edit. */
    readonly confirmExpiring: number,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type StartedRun = { readonly occurrence_id: string; readonly position: Position | null };

/** Run a policy now. @throws DomainError policy_not_found, no_vm_matched, previous_running, node_offline, repository_unavailable */
export class RunPolicy extends Command<StartedRun> {
  constructor(
    readonly policyId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Serialises the starts of a policy's runs. */
export function policyRunLock(policyId: string): string {
  return `policy-run/${policyId}`;
}

/** Delete a policy. Its restore points stay. @throws DomainError policy_not_found */
export class DeletePolicy extends Command<Position | null> {
  constructor(
    readonly policyId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export function policyNotFound(policy_id: string): DomainError {
  return new DomainError('not_found', 'policy_not_found', `There is no policy ${policy_id}.`, { policy_id });
}
