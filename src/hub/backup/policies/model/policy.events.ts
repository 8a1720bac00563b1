import type { DomainEvent } from '../../../../kernel/event.js';

export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** When backups may start, by the clock of the policy's zone. It ends the next day if `until` is not after `from`. */
export type StartWindow = {
  readonly from: string;
  readonly until: string;
  /** The days on which it opens; empty: every day. */
  readonly days: readonly Weekday[];
};

/** A time without starts, as instants. */
export type Blackout = {
  readonly from: string;
  readonly until: string;
  /** Whether a run that is due within it starts at its end, or not at all. */
  readonly effect: 'defer' | 'skip';
};

/** What a VM must have: this id, a name that fits the pattern (`*`, `?`), this label, this node, or this source. */
export type SelectionRule = { readonly by: 'vm_id' | 'name' | 'label' | 'node_id' | 'source'; readonly value: string };

/** A VM that is left out for a reason; `until` null: permanently. */
export type OptOut = { readonly vm_id: string; readonly reason: string; readonly until: string | null };

/** Which restore points of the policy are kept: those that one of the rules keeps. At least one rule is not null. */
export type Retention = {
  /** The newest ones. */
  readonly keep_last: number | null;
  /** Those at most this much older than the newest one, such as `36h`, `30d` or `8w`. */
  readonly keep_within: string | null;
  /** The first ones of the newest days, ISO weeks, months and years that have any, in the policy's zone. */
  readonly keep_daily: number | null;
  readonly keep_weekly: number | null;
  readonly keep_monthly: number | null;
  readonly keep_yearly: number | null;
  /** `new`: restore points made under earlier versions keep following the rules that they followed. */
  readonly applies_to: 'all' | 'new';
};

/** Which copies a rule keeps in its repository: those that one of the members keeps. At least one is not null. */
export type CopyRetention = Omit<Retention, 'applies_to'>;

/** What is checked after a backup of the policy has completed. At least one of the two rules is not null. */
export type VerificationRules = {
  /** Every restore point (1), or each one after so many of the same VM, has its files verified; the first one always. */
  readonly every_nth: number | null;
  /** The first restore point after so many days is booted. */
  readonly boot_every_days: number | null;
  /** Text on the serial console that shows that the guest is up; null: none. */
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  readonly timeout_seconds: number;
};

/** Which good restore points are copied into another repository. */
export type CopyRule = {
  readonly repository_id: string;
  /** Every one, or the first of each day, ISO week, month or year, in the policy's zone. */
  readonly which: 'every' | 'daily' | 'weekly' | 'monthly' | 'yearly';
  /** Whether restore points that it depends on are copied too; else the copy is flattened. */
  readonly with_parents: boolean;
  /** Bytes per second at most; null: not limited. */
  readonly bandwidth_limit_bps: number | null;
  /** null, and omitted in events of early hubs: no copy ever expires. */
  readonly retention?: CopyRetention | null;
};

export type PolicySettings = {
  readonly name: string;
  readonly enabled: boolean;
  readonly time_zone: string;
  readonly schedule: string;
  /** A VM is selected if one of these rules fits, and none of `exclude`. */
  readonly include: readonly SelectionRule[];
  readonly exclude: readonly SelectionRule[];
  readonly opt_outs: readonly OptOut[];
  readonly repository_id: string;
  readonly backup_type: 'auto' | 'full' | 'incremental';
  /** The starts of the VMs are spread over this time. */
  readonly spread_seconds: number;
  /** null: always open. */
  readonly start_window: StartWindow | null;
  readonly blackouts: readonly Blackout[];
  /** Shared blackouts that apply too; omitted in events of early hubs: none. */
  readonly blackout_ids?: readonly string[];
  readonly catch_up: 'none' | 'latest';
  /** null, and omitted in events of early hubs: no restore point ever expires. */
  readonly retention?: Retention | null;
  /** The promise for each VM: the newest good restore point is never older. null, and omitted in events of early hubs: nothing is promised. */
  readonly rpo_seconds?: number | null;
  /** null, and omitted in events of early hubs: nothing is verified. */
  readonly verification?: VerificationRules | null;
  /** Whether a scheduled backup may go on when the start window closes or a blackout begins; omitted in events of early hubs: `finish`. */
  readonly run_within?: 'finish' | 'cancel';
  /** How long a backup waits in the queue at most; null, and omitted in events of early hubs: no limit. */
  readonly concurrency_timeout_seconds?: number | null;
  /** At most one for each repository; omitted in events of early hubs: none. */
  readonly copies?: readonly CopyRule[];
};

export type PolicyCreated = DomainEvent<
  'PolicyCreated',
  { readonly policy_id: string; readonly version: number; readonly settings: PolicySettings; readonly created_at: string }
>;
export type PolicyEdited = DomainEvent<'PolicyEdited', { readonly version: number; readonly settings: PolicySettings; readonly edited_at: string }>;
export type PolicyDeleted = DomainEvent<'PolicyDeleted', { readonly deleted_at: string }>;

/** Stream `policy-<policy_id>`. */
export type PolicyEvent = PolicyCreated | PolicyEdited | PolicyDeleted;

export function policyStream(policyId: string): string {
  return `policy-${policyId}`;
}

/** What `every N` counts from: an edit that keeps the schedule keeps its anchor. */
export function anchorAfterEdit(before: Readonly<Record<'schedule' | 'anchor', string>>, { schedule }: PolicySettings, edited_at: string): string {
  return before.schedule === schedule ? before.anchor : edited_at;
}
