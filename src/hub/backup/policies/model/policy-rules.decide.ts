import { DomainError } from '../../../../kernel/domain-error.js';
import type { CopyRetention, PolicySettings, Retention, VerificationRules } from './policy.events.js';
import { parseSchedule } from './schedule.plan.js';
import { conflictWith, type OtherPolicy, type SelectableVm, select } from './selection.plan.js';
import { knownZone } from './time-zone.plan.js';

/** What a policy is checked against. */
export interface PolicyFacts {
  readonly vms: readonly SelectableVm[];
  /** All other policies. */
  readonly others: readonly OtherPolicy[];
  readonly repository_exists: boolean;
  /** Repositories to copy into that do not exist. */
  readonly unknown_copy_targets: readonly string[];
  /** Ids of the shared blackouts. */
  readonly blackout_ids: readonly string[];
  readonly at: string;
}

/**
 * The settings as they are recorded, with the zone under its known name.
 * @throws DomainError schedule_invalid, time_zone_unknown, blackout_invalid, retention_empty, verification_empty, sign_of_life_missing,
 * repository_not_found, copy_target_is_source, blackout_not_found, policy_name_taken, no_vm_matched, vm_claimed
 */
export function soundSettings(
  settings: PolicySettings,
  { vms, others, repository_exists, unknown_copy_targets, blackout_ids, at }: PolicyFacts,
): PolicySettings {
  const { name, repository_id, blackouts } = settings;
  parseSchedule(settings.schedule, settings.time_zone, at);
  if (blackouts.some(({ from, until }) => from >= until)) {
    throw new DomainError('invalid', 'blackout_invalid', 'A blackout must end after it begins.', { field: 'blackouts', rule: 'until_after_from' });
  }
  refuseEmpty(settings.retention ?? null);
  for (const rule of settings.copies ?? []) refuseEmpty(rule.retention ?? null, 'copies');
  refuseVoid(settings.verification ?? null);
  if (!repository_exists) {
    throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { field: 'repository_id', repository_id });
  }
  const [target] = unknown_copy_targets;
  if (target !== undefined) {
    throw new DomainError('not_found', 'repository_not_found', `There is no repository ${target}.`, { field: 'copies', repository_id: target });
  }
  if (settings.copies?.some((rule) => rule.repository_id === repository_id) === true) {
    throw new DomainError(
      'invalid',
      'copy_target_is_source',
      'A policy cannot copy restore points into the repository that it backs up to. Choose another one.',
      {
        field: 'copies',
        rule: 'another_repository',
      },
    );
  }
  const unknown = settings.blackout_ids?.find((id) => !blackout_ids.includes(id));
  if (unknown !== undefined) {
    throw new DomainError('not_found', 'blackout_not_found', `There is no blackout ${unknown}.`, { field: 'blackout_ids', blackout_id: unknown });
  }
  if (others.some((other) => other.name === name)) {
    throw new DomainError('conflict', 'policy_name_taken', `A policy named "${name}" already exists. Choose another name.`, { field: 'name', rule: 'unique' });
  }
  if (select(settings, vms, at).vms.length === 0) {
    throw new DomainError('conflict', 'no_vm_matched', 'The selection matches no VM. Correct include, exclude and opt_outs, or register the VMs first.', {
      field: 'include',
      rule: 'matches_a_vm',
    });
  }
  const conflict = conflictWith(settings, vms, at, others);
  if (conflict !== null) {
    const { vm_name, policy_name } = conflict;
    throw new DomainError('conflict', 'vm_claimed', `Policy "${policy_name}" already backs up VM "${vm_name}" into this repository. Exclude it from one.`, {
      field: 'include',
      rule: 'one_policy_for_each_vm_and_repository',
      vm_name,
      policy_name,
    });
  }
  return { ...settings, time_zone: knownZone(settings.time_zone) };
}

/** @throws DomainError verification_empty, sign_of_life_missing */
function refuseVoid(verification: VerificationRules | null): void {
  if (verification === null) return;
  const { every_nth, boot_every_days, console_text, guest_agent } = verification;
  if (every_nth === null && boot_every_days === null) {
    throw new DomainError(
      'invalid',
      'verification_empty',
      'A verification needs every_nth, boot_every_days or both. Without a verification, nothing is checked.',
      {
        field: 'verification',
        rule: 'at_least_one_rule',
      },
    );
  }
  if (boot_every_days !== null && console_text === null && !guest_agent) {
    throw new DomainError('invalid', 'sign_of_life_missing', 'Set console_text, guest_agent or both: the boot check needs a sign of life to wait for.', {
      field: 'verification',
      rule: 'sign_of_life',
    });
  }
}

/** A retention without rules would let all but the newest expire. @throws DomainError retention_empty */
export function refuseEmpty(retention: Retention | CopyRetention | null, field: 'retention' | 'copies' = 'retention'): void {
  if (retention === null) return;
  const { keep_last, keep_within, keep_daily, keep_weekly, keep_monthly, keep_yearly } = retention;
  if ([keep_last, keep_within, keep_daily, keep_weekly, keep_monthly, keep_yearly].some((rule) => rule !== null)) return;
  const all = field === 'copies' ? 'copy' : 'restore point';
  throw new DomainError('invalid', 'retention_empty', `A retention needs at least one rule. Without a retention, every ${all} is kept.`, {
    field,
    rule: 'at_least_one_rule',
  });
}
