import { IsString, MaxLength } from 'class-validator';
import { Part } from '../../../../contract/validation/member.decorators.js';
import { Nullable, Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';
import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import { RetentionDto } from '../model/policy.dto.js';

export class SimulatePolicyDto {
  /** The policy that would be edited @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */
  @IsUuid()
  readonly policy_id!: string;

  /** The rules that it would have; null: every restore point is kept */
  @Nullable()
  @Part(() => RetentionDto)
  readonly retention!: RetentionDto | null;

  /** The time zone that it would have; without it its own @example "Europe/Berlin" */
  @Optional()
  @IsString()
  @MaxLength(64)
  readonly time_zone?: string;
}

export class NotKeptResponse implements ExpiryReason {
  /** The rule that does not keep it */
  readonly rule!: ExpiryReason['rule'];
  /** `exceeded`: enough newer ones are kept, or it is too old. `not_first`: another restore point is the daily, weekly, ... of its period */
  readonly outcome!: ExpiryReason['outcome'];
  /** The day, ISO week, month or year; null: the rule has no periods @example "2026-W47" */ readonly period!: string | null;
}

export class ExpiringPointResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** The instant common to its disks @example "2026-11-21T10:30:02.120Z" */ readonly snapshot_instant!: string;
  /** For each rule, why it does not keep the restore point */ readonly reasons!: NotKeptResponse[];
}

export class PolicySimulationResponse {
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** The version that the rules are compared with @example 1 */ readonly version!: number;
  /** How many restore points of the policy would be kept @example 240 */ readonly kept!: number;
  /** How many would expire, or have expired already @example 36 */ readonly expiring!: number;
  /** How many of these are kept by the rules of now: the `confirm_expiring` of the edit @example 12 */ readonly newly_expiring!: number;
  /** The restore points that would newly expire, at most 1,000 of them */ readonly points!: ExpiringPointResponse[];
}
