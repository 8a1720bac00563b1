import type { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import { BlackoutDto, OptOutDto, SelectionRuleDto, StartWindowDto } from './policy.dto.js';

export class KeepRulesResponse {
  /** @example 7 */ readonly keep_last!: number | null;
  /** @example "14d" */ readonly keep_within!: string | null;
  /** @example 14 */ readonly keep_daily!: number | null;
  /** @example 8 */ readonly keep_weekly!: number | null;
  /** @example 12 */ readonly keep_monthly!: number | null;
  /** @example 5 */ readonly keep_yearly!: number | null;
}

export class RetentionResponse extends KeepRulesResponse {
  readonly applies_to!: 'all' | 'new';
}

export class VerificationRulesResponse {
  /** @example 7 */ readonly every_nth!: number | null;
  /** @example 30 */ readonly boot_every_days!: number | null;
  /** @example "login:" */ readonly console_text!: string | null;
  readonly guest_agent!: boolean;
  /** @example 300 */ readonly timeout_seconds!: number;
}

export class CopyRuleResponse {
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */ readonly repository_id!: string;
  readonly which!: 'every' | 'daily' | 'weekly' | 'monthly' | 'yearly';
  readonly with_parents!: boolean;
  /** @example null */ readonly bandwidth_limit_bps!: number | null;
  /** null: no copy expires */ readonly retention!: KeepRulesResponse | null;
}

/** A policy as all routes of the API show it. */
export class PolicyResponse {
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** Counts the edits, from 1 @example 1 */ readonly version!: number;
  /** @example "nightly" */ readonly name!: string;
  readonly enabled!: boolean;
  /** @example "Europe/Berlin" */ readonly time_zone!: string;
  /** @example "daily at 22:00" */ readonly schedule!: string;
  readonly include!: readonly SelectionRuleDto[];
  readonly exclude!: readonly SelectionRuleDto[];
  readonly opt_outs!: readonly OptOutDto[];
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  readonly backup_type!: 'auto' | 'full' | 'incremental';
  /** @example 600 */ readonly spread_seconds!: number;
  readonly start_window!: StartWindowDto | null;
  readonly blackouts!: readonly BlackoutDto[];
  readonly catch_up!: 'none' | 'latest';
  /** Ids of shared blackouts @example [] */ readonly blackout_ids!: string[];
  /** null: no restore point expires */ readonly retention!: RetentionResponse | null;
  /** The greatest age of each VM's newest good restore point that is promised; null: nothing is promised @example 86400 */
  readonly rpo_seconds!: number | null;
  /** What is checked after a backup has completed; null: nothing */ readonly verification!: VerificationRulesResponse | null;
  /** Whether a backup may finish when the start window closes or a blackout begins */ readonly run_within!: 'finish' | 'cancel';
  /** How long a backup waits in the queue at most; null: no limit @example 3600 */ readonly concurrency_timeout_seconds!: number | null;
  readonly copies!: CopyRuleResponse[];
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** When this version was recorded @example "2026-11-21T10:30:00.000Z" */ readonly edited_at!: string;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}

export function toPolicyResponse({ policy_id, version, settings, created_at, edited_at, position }: PolicyReadModel): PolicyResponse {
  return {
    policy_id,
    version,
    ...settings,
    blackout_ids: [...(settings.blackout_ids ?? [])],
    retention: settings.retention ?? null,
    rpo_seconds: settings.rpo_seconds ?? null,
    verification: settings.verification ?? null,
    run_within: settings.run_within ?? 'finish',
    concurrency_timeout_seconds: settings.concurrency_timeout_seconds ?? null,
    copies: (settings.copies ?? []).map((rule) => ({ ...rule, retention: rule.retention ?? null })),
    created_at: created_at.toISOString(),
    edited_at: edited_at.toISOString(),
    position,
  };
}
