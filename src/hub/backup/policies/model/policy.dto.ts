import { ArrayMaxSize, ArrayUnique, IsArray, IsBoolean, IsIn, IsInt, IsString, Length, Matches, Max, MaxLength, Min } from 'class-validator';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { ListOf, Part } from '../../../../contract/validation/member.decorators.js';
import { Nullable, Optional, OptionalOrNull } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';
import {
  type Blackout,
  type CopyRetention,
  type CopyRule,
  type OptOut,
  type PolicySettings,
  type Retention,
  type SelectionRule,
  type StartWindow,
  type VerificationRules,
  type Weekday,
  WEEKDAYS,
} from './policy.events.js';
import { KEEP_WITHIN, TIERS } from './retention-periods.plan.js';

const TIME_OF_DAY = /^([01]\d|2[0-3]):[0-5]\d$/;
/** Without control characters, and without spaces at either end. */
const PLAIN_TEXT = /^(?! )[^\p{Cc}\p{Zl}\p{Zp}]*[^\p{Cc}\p{Zl}\p{Zp} ]$/u;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SELECTED_BY = ['vm_id', 'name', 'label', 'node_id', 'source'] as const;

export class SelectionRuleDto implements SelectionRule {
  /** The property of a VM that the rule looks at */
  @IsIn(SELECTED_BY)
  readonly by!: SelectionRule['by'];

  /** For `name` a pattern in which `*` stands for any characters and `?` for one; for the others the exact value @example "web-*" */
  @IsString()
  @MaxLength(128)
  @Matches(PLAIN_TEXT, { message: 'value must be a text without control characters and outer spaces' })
  readonly value!: string;
}

export class OptOutDto implements OptOut {
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */
  @IsUuid()
  readonly vm_id!: string;

  /** Why the VM is left out @example "Its application makes backups of its own." */
  @IsString()
  @MaxLength(500)
  @Matches(PLAIN_TEXT, { message: 'reason must be a text without control characters and outer spaces' })
  readonly reason!: string;

  /** When it ends; null: never @example null */
  @Nullable()
  @IsInstant()
  readonly until!: string | null;
}

export class StartWindowDto implements StartWindow {
  /** When it opens, by the clock of the policy's time zone @example "22:00" */
  @Matches(TIME_OF_DAY, { message: 'from must be a time of day, such as 22:00' })
  readonly from!: string;

  /** When it closes; the next day if it is not after `from` @example "06:00" */
  @Matches(TIME_OF_DAY, { message: 'until must be a time of day, such as 06:00' })
  readonly until!: string;

  /** The days on which it opens; empty: every day @example ["mon", "tue"] */
  @IsArray()
  @ArrayMaxSize(7)
  @ArrayUnique()
  @IsIn(WEEKDAYS, { each: true })
  readonly days!: readonly Weekday[];
}

export class BlackoutDto implements Blackout {
  /** @example "2026-12-24T00:00:00.000Z" */
  @IsInstant()
  readonly from!: string;

  /** @example "2026-12-27T00:00:00.000Z" */
  @IsInstant()
  readonly until!: string;

  /** Whether a run that is due within it starts at its end, or not at all */
  @IsIn(['defer', 'skip'])
  readonly effect!: Blackout['effect'];
}

/** The most that a rule can keep. */
const MOST_KEPT = 10_000;

/** The rules by which restore points or copies are kept. */
export class KeepRulesDto {
  /** Keeps this many newest restore points; null: no such rule @example 7 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(MOST_KEPT)
  readonly keep_last?: number | null;

  /** Keeps restore points at most this much older than the newest good one: hours, days of 24 hours, or weeks @example "14d" */
  @OptionalOrNull()
  @Matches(KEEP_WITHIN, { message: 'keep_within must be a number of hours, days or weeks, such as 36h, 14d or 8w' })
  readonly keep_within?: string | null;

  /** Keeps the first restore point of each of this many newest days that have any @example 14 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(MOST_KEPT)
  readonly keep_daily?: number | null;

  /** The same for ISO weeks @example 8 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(MOST_KEPT)
  readonly keep_weekly?: number | null;

  /** The same for months @example 12 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(MOST_KEPT)
  readonly keep_monthly?: number | null;

  /** The same for years @example 5 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(MOST_KEPT)
  readonly keep_yearly?: number | null;
}

export class RetentionDto extends KeepRulesDto {
  /** `new`: restore points made under earlier versions of the policy keep following the rules that they followed */
  @Optional()
  @IsIn(['all', 'new'])
  readonly applies_to: Retention['applies_to'] = 'all';
}

export class VerificationRulesDto {
  /** Verifies the files of each restore point (1), or of each that comes so many after the last verified one of its VM; null: no such rule @example 7 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(1000)
  readonly every_nth?: number | null;

  /** Boots the first restore point of a VM that comes so many days after the last one that was booted; null: no such rule @example 30 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(366)
  readonly boot_every_days?: number | null;

  /** Text on the serial console that shows that the guest is up; null: none @example "login:" */
  @OptionalOrNull()
  @IsString()
  @Length(1, 200)
  readonly console_text?: string | null;

  /** Whether a response from the guest agent shows that the guest is up */
  @Optional()
  @IsBoolean()
  readonly guest_agent: boolean = true;

  /** How long the guest has to give a sign of life, in seconds @example 300 */
  @Optional()
  @IsInt()
  @Min(1)
  @Max(86_400)
  readonly timeout_seconds: number = 300;
}

export class CopyRuleDto {
  /** Where the copies are stored @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */
  @IsUuid()
  readonly repository_id!: string;

  /** Every good restore point, or the first one of each day, ISO week, month or year, in the policy's time zone */
  @Optional()
  @IsIn(['every', ...TIERS])
  readonly which: CopyRule['which'] = 'every';

  /**
   * Whether restore points that it depends on, and that have no copy there, are copied too; else the copy is flattened into a full. Without it: true for
   * `every`, else false
   * @example true
   */
  @Optional()
  @IsBoolean()
  readonly with_parents?: boolean;

  /** Bytes per second that each copy reads at most; null: not limited @example 10485760 */
  @OptionalOrNull()
  @IsInt()
  @Min(65_536)
  @Max(1_000_000_000_000)
  readonly bandwidth_limit_bps?: number | null;

  /** Which of these copies are kept, of each VM; null: all of them */
  @OptionalOrNull()
  @Part(() => KeepRulesDto)
  readonly retention?: KeepRulesDto | null;
}

export class CreatePolicyDto {
  /** Unique @example "nightly" */
  @IsString()
  @MaxLength(128)
  @Matches(PLAIN_TEXT, { message: 'name must be a text without control characters and outer spaces' })
  readonly name!: string;

  /** Whether it runs by itself. Expected runs of a disabled policy are recorded as skipped (`paused`) */
  @Optional()
  @IsBoolean()
  readonly enabled: boolean = true;

  /** Name of the time zone in which the schedule is read @example "Europe/Berlin" */
  @IsString()
  @MaxLength(64)
  readonly time_zone!: string;

  /**
   * `every 4h`, `daily at 22:00`, `weekly on mon,thu at 01:30`, `monthly on 1,last at 03:00`, or a cron expression of five fields
   * @example "daily at 22:00"
   */
  @IsString()
  @MaxLength(200)
  readonly schedule!: string;

  /** A VM is selected if one of these rules fits */
  @ListOf(() => SelectionRuleDto, { min: 1, max: 200 })
  readonly include!: readonly SelectionRuleDto[];

  /** A VM that one of these rules fits is not selected */
  @Optional()
  @ListOf(() => SelectionRuleDto, { max: 200 })
  readonly exclude: readonly SelectionRuleDto[] = [];

  /** VMs that are left out, each with the reason */
  @Optional()
  @ListOf(() => OptOutDto, { max: 1000, uniqueBy: 'vm_id' })
  readonly opt_outs: readonly OptOutDto[] = [];

  /** Where the restore points are stored @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */
  @IsUuid()
  readonly repository_id!: string;

  /** `auto` makes an incremental if possible */
  @Optional()
  @IsIn(['auto', 'full', 'incremental'])
  readonly backup_type: PolicySettings['backup_type'] = 'auto';

  /** The starts of the VMs are spread over this time; each VM always has the same place in it @example 600 */
  @Optional()
  @IsInt()
  @Min(0)
  @Max(86_400)
  readonly spread_seconds: number = 0;

  /** When backups may start; null: always */
  @OptionalOrNull()
  @Part(() => StartWindowDto)
  readonly start_window?: StartWindowDto | null;

  /** Times without starts */
  @Optional()
  @ListOf(() => BlackoutDto, { max: 100 })
  readonly blackouts: readonly BlackoutDto[] = [];

  /** Shared blackouts that apply too, listed by GET /blackouts @example ["0199a3c0-7733-7c3e-8a55-9b1d3c1f0e5b"] */
  @Optional()
  @IsArray()
  @ArrayMaxSize(100)
  @ArrayUnique()
  @Matches(UUID, { each: true, message: 'blackout_ids must be UUIDs in lower case' })
  readonly blackout_ids?: readonly string[] = [];

  /** Whether the newest run that the hub missed is caught up within 12 hours */
  @Optional()
  @IsIn(['none', 'latest'])
  readonly catch_up: PolicySettings['catch_up'] = 'latest';

  /** Which restore points are kept: those that at least one rule keeps. null: all of them */
  @OptionalOrNull()
  @Part(() => RetentionDto)
  readonly retention?: RetentionDto | null;

  /**
   * Recovery point objective: the newest good restore point of each VM must never be older than this many seconds; null: nothing is promised
   * @example 86400
   */
  @OptionalOrNull()
  @IsInt()
  @Min(60)
  @Max(31_622_400)
  readonly rpo_seconds?: number | null;

  /** What is checked after a backup has completed; null: nothing */
  @OptionalOrNull()
  @Part(() => VerificationRulesDto)
  readonly verification?: VerificationRulesDto | null;

  /** Whether a backup that runs when the start window closes or a blackout begins may finish, or is cancelled. Runs that were asked for always finish */
  @Optional()
  @IsIn(['finish', 'cancel'])
  readonly run_within?: 'finish' | 'cancel' = 'finish';

  /** A backup that still waits in the queue after this time is cancelled (`concurrency_timeout`); null: it waits @example 3600 */
  @OptionalOrNull()
  @IsInt()
  @Min(1)
  @Max(604_800)
  readonly concurrency_timeout_seconds?: number | null;

  /** Repositories into which restore points are copied */
  @Optional()
  @ListOf(() => CopyRuleDto, { max: 8, uniqueBy: 'repository_id' })
  readonly copies?: readonly CopyRuleDto[] = [];
}

export class EditPolicyDto extends CreatePolicyDto {
  /** The version that the edit is based on @example 1 */
  @IsInt()
  @Min(1)
  @Max(2_147_483_646)
  readonly version!: number;

  /** How many restore points and copies may expire because the new rules keep less; without it none @example 0 */
  @Optional()
  @IsInt()
  @Min(0)
  @Max(2_147_483_646)
  readonly confirm_expiring: number = 0;
}

export function settingsOf(dto: CreatePolicyDto): PolicySettings {
  const { name, enabled, time_zone, schedule, repository_id, backup_type, spread_seconds, start_window, catch_up, retention } = dto;
  return {
    name,
    enabled,
    time_zone,
    schedule,
    include: dto.include.map(({ by, value }) => ({ by, value })),
    exclude: dto.exclude.map(({ by, value }) => ({ by, value })),
    opt_outs: dto.opt_outs.map(({ vm_id, reason, until }) => ({ vm_id, reason, until })),
    repository_id,
    backup_type,
    spread_seconds,
    start_window: start_window === undefined || start_window === null ? null : { from: start_window.from, until: start_window.until, days: start_window.days },
    blackouts: dto.blackouts.map(({ from, until, effect }) => ({ from, until, effect })),
    blackout_ids: dto.blackout_ids ?? [],
    catch_up,
    retention: retention === undefined || retention === null ? null : retentionOf(retention),
    rpo_seconds: dto.rpo_seconds ?? null,
    verification: dto.verification === undefined || dto.verification === null ? null : verificationOf(dto.verification),
    run_within: dto.run_within ?? 'finish',
    concurrency_timeout_seconds: dto.concurrency_timeout_seconds ?? null,
    copies: (dto.copies ?? []).map(({ repository_id: target, which, with_parents, bandwidth_limit_bps, retention: kept }) => ({
      repository_id: target,
      which,
      with_parents: with_parents ?? which === 'every',
      bandwidth_limit_bps: bandwidth_limit_bps ?? null,
      retention: kept === undefined || kept === null ? null : keepRulesOf(kept),
    })),
  };
}

const DEFAULT_CONSOLE_TEXT = 'login:';

function verificationOf(dto: VerificationRulesDto): VerificationRules {
  const { every_nth = null, boot_every_days = null, console_text = DEFAULT_CONSOLE_TEXT, guest_agent, timeout_seconds } = dto;
  return { every_nth, boot_every_days, console_text, guest_agent, timeout_seconds };
}

export function retentionOf(dto: RetentionDto): Retention {
  return { ...keepRulesOf(dto), applies_to: dto.applies_to };
}

function keepRulesOf(dto: KeepRulesDto): CopyRetention {
  const { keep_last = null, keep_within = null, keep_daily = null, keep_weekly = null, keep_monthly = null, keep_yearly = null } = dto;
  return { keep_last, keep_within, keep_daily, keep_weekly, keep_monthly, keep_yearly };
}
