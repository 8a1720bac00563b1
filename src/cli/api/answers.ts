/** The members of the hub's answers that the command line reads. The compiler compares them with the hub's own types: test/api/command-line-answers.ts. */

import type { JsonObject } from '../../kernel/json.js';
import type { ValueUnit } from '../../kernel/value-text.js';

interface Problem {
  readonly code: string;
  readonly detail: string;
}

interface ReportColumn {
  readonly name: string;
  readonly heading: string;
  readonly unit: ValueUnit;
}

export interface Report {
  readonly query: JsonObject;
  readonly sha256: string;
  /** A value for each column of the layout's totals. */
  readonly totals: JsonObject;
  /** Rows by the name of a table. */
  readonly tables: JsonObject;
  readonly layout: {
    readonly title: string;
    readonly totals: readonly ReportColumn[];
    readonly tables: readonly { readonly name: string; readonly heading: string; readonly columns: readonly ReportColumn[] }[];
  };
}

export interface RepositoryTest {
  readonly ok: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  readonly capabilities: object | null;
}

export interface RepositoryCapacity {
  readonly capacity: {
    readonly total_bytes: number;
    readonly free_bytes: number;
    readonly used_percent: number;
    readonly level: string;
    readonly measured_at: string;
  } | null;
  readonly thresholds: { readonly warning_percent: number; readonly critical_percent: number };
  readonly forecast: { readonly growth_bytes_per_day: number | null; readonly full_on: string | null; readonly reason: string | null };
  readonly measurements: readonly object[];
}

export interface Readiness {
  readonly checks: readonly { readonly name: string; readonly status: string; readonly code: string | null }[];
}

export interface HubRole {
  readonly role: 'active' | 'standby';
  readonly term: number | null;
  readonly active: { readonly host: string; readonly version: string } | null;
  readonly standby: { readonly host: string; readonly version: string; readonly problems: readonly string[] } | null;
  /** Seconds. */
  readonly renewed_seconds_ago: number | null;
}

export interface Copy {
  readonly copy_id: string;
  readonly status: string;
  /** Copied and read back, of twice total_bytes; null: nothing is transferred at the moment. */
  readonly progress_bytes: number | null;
  readonly total_bytes: number | null;
  readonly interruption: (Problem & { readonly since: string }) | null;
  readonly error: Problem | null;
  readonly ended_at: string | null;
}

export interface Node {
  readonly node_id: string;
  readonly name: string;
  /** null: no address yet. */
  readonly url: string | null;
  readonly state: string;
  readonly version: string | null;
  readonly error: Problem | null;
  readonly enrolment: { readonly state: string } | null;
  /** As reported by the node; null: no tunnel, or no report yet. */
  readonly tunnel: {
    readonly state: string;
    readonly cause: Problem | null;
    readonly connections: { readonly wanted: number; readonly up: number };
  } | null;
}

export interface Pairing {
  readonly node_id: string;
  readonly pairing_code: string;
}

export interface Vm {
  readonly vm_id: string;
}

export interface VmPruning {
  readonly dry_run: boolean;
  readonly chains: readonly {
    readonly steps: readonly {
      readonly kind: 'drop' | 'flatten' | 'absorb';
      readonly backup_id: string;
      readonly parent_backup_id: string | null;
      readonly merged: readonly string[];
    }[];
    readonly left: readonly { readonly backup_id: string; readonly needed_by: string }[];
    readonly read_bytes: number;
    readonly write_bytes: number;
    readonly needed_bytes: number;
    readonly free_bytes: number;
  }[];
}

export interface Repository {
  readonly repository_id: string;
  readonly name: string;
  readonly type: string;
  readonly path: string;
}

export interface RepositoryStorage {
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly restore_points: number;
}

export interface RepositoryImport {
  readonly name: string;
  readonly imported: readonly string[];
  readonly already_known: number;
  readonly skipped: readonly { readonly folder: string; readonly reason: string }[];
  readonly signatures: { readonly trusted: number; readonly unknown_key: number; readonly unsigned: number; readonly unknown_keys: readonly string[] };
}

export interface Backup {
  readonly backup_id: string;
  readonly status: string;
  readonly current_phase: string;
  readonly progress_percent: number;
  readonly waiting_for: string | null;
  readonly error: Problem | null;
}

export interface BackupWithCopies extends Backup {
  readonly repository_id: string;
  readonly copies: readonly { readonly repository_id: string; readonly status: string }[];
}

export interface Verification {
  readonly verification_id: string;
  readonly repository_id: string;
  readonly status: string;
  readonly findings: readonly Problem[];
  readonly healed: readonly { readonly file: string; readonly healed_bytes: number; readonly from_repository_ids: readonly string[] }[];
  readonly unhealed: readonly (Problem & { readonly backup_id: string })[];
  readonly error: Problem | null;
  readonly files_checked: number | null;
  /** null: not requested. */
  readonly boot: { readonly status: string; readonly detail: string | null } | null;
  readonly completed_at: string | null;
}

export interface Retention {
  readonly keep_last: number | null;
  readonly keep_within: string | null;
  readonly keep_daily: number | null;
  readonly keep_weekly: number | null;
  readonly keep_monthly: number | null;
  readonly keep_yearly: number | null;
  readonly applies_to: string;
}

export interface PolicySimulation {
  readonly newly_expiring: number;
  readonly points: readonly {
    readonly backup_id: string;
    readonly vm_name: string;
    readonly snapshot_instant: string;
    readonly reasons: readonly { readonly rule: string; readonly outcome: string }[];
  }[];
}

export interface PolicyWhatIf {
  readonly version: number;
  readonly forward: {
    readonly until: string;
    readonly vms: { readonly selected: number; readonly without_history: NamedVms; readonly only_fulls: NamedVms };
    readonly runs: {
      readonly expected: number;
      readonly on_time: number;
      readonly moved: number;
      readonly skipped: number;
      readonly by_reason: readonly { readonly reason: string; readonly runs: number }[];
      readonly starts_outside_window: number;
      readonly refused_backups: number;
    };
    readonly free_bytes: number | null;
    readonly full_on: string | null;
    readonly rpo: {
      readonly rpo_seconds: number;
      readonly violations: {
        readonly count: number;
        readonly first: readonly { readonly vm_name: string; readonly worst_gap_seconds: number; readonly gap_from: string; readonly gap_until: string }[];
      };
    } | null;
    readonly greatest: { readonly points: number; readonly bytes: number };
    readonly kept_by: readonly { readonly rule: string; readonly points: number }[];
    readonly days: readonly WhatIfDay[];
  };
  readonly backward: {
    readonly since: string;
    readonly restore_points: { readonly existed: number; readonly would_exist: number; readonly only_now: number; readonly only_then: number };
    readonly points: readonly {
      readonly backup_id: string;
      readonly vm_name: string;
      readonly snapshot_instant: string;
      readonly exists: boolean;
      readonly would_exist: boolean;
      readonly kept_by: readonly string[];
      readonly gone_at: string | null;
    }[];
    readonly restores: {
      readonly made: number;
      readonly impossible: number;
      readonly first: readonly {
        readonly kind: string;
        readonly vm_name: string;
        readonly backup_id: string;
        readonly requested_at: string;
        readonly gone_at: string;
      }[];
    };
  } | null;
}

export interface WhatIfDay {
  readonly day: string;
  readonly made: number;
  readonly expired: number;
  readonly removed: number;
  readonly points: number;
  readonly bytes: number;
}

interface NamedVms {
  readonly count: number;
  readonly first: readonly { readonly vm_name: string }[];
}

export interface VerificationRules {
  readonly every_nth: number | null;
  readonly boot_every_days: number | null;
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  readonly timeout_seconds: number;
}

export interface CopyRule {
  readonly repository_id: string;
  readonly which: string;
  readonly with_parents: boolean;
  readonly bandwidth_limit_bps: number | null;
  readonly retention: Omit<Retention, 'applies_to'> | null;
}

export interface Policy {
  readonly policy_id: string;
  readonly version: number;
  readonly name: string;
  readonly enabled: boolean;
  readonly time_zone: string;
  readonly schedule: string;
  readonly include: readonly { readonly by: string; readonly value: string }[];
  readonly exclude: readonly { readonly by: string; readonly value: string }[];
  readonly opt_outs: readonly { readonly vm_id: string; readonly reason: string; readonly until: string | null }[];
  readonly repository_id: string;
  readonly backup_type: string;
  readonly spread_seconds: number;
  readonly start_window: { readonly from: string; readonly until: string; readonly days: readonly string[] } | null;
  readonly blackouts: readonly { readonly from: string; readonly until: string; readonly effect: string }[];
  readonly blackout_ids: readonly string[];
  readonly catch_up: string;
  readonly retention: Retention | null;
  readonly rpo_seconds: number | null;
  readonly verification: VerificationRules | null;
  readonly run_within: string;
  readonly concurrency_timeout_seconds: number | null;
  readonly copies: readonly CopyRule[];
  readonly created_at: string;
  readonly edited_at: string;
  readonly position: string;
}

export interface SharedBlackout {
  readonly blackout_id: string;
  readonly version: number;
  readonly name: string;
  readonly time_zone: string;
  readonly effect: string;
  readonly dates: readonly { readonly from: string; readonly until: string }[];
  readonly weekly: readonly { readonly from: string; readonly until: string; readonly days: readonly string[] }[];
}

export interface PolicyPreview {
  readonly sentence: string;
  readonly next_occurrences: readonly { readonly at: string; readonly wall_time: string }[];
  readonly vms: readonly { readonly vm_name: string; readonly because: string }[];
  readonly left_out: readonly { readonly vm_name: string; readonly because: string }[];
}

export interface Occurrence {
  readonly wall_time: string;
  readonly trigger: string;
  readonly outcome: string;
  readonly reason: string | null;
  readonly vms: readonly { readonly status: string; readonly checks: readonly { readonly step: string; readonly status: string }[] }[];
  readonly finished_at: string | null;
}

export interface Mount {
  readonly mount_id: string;
  readonly driver: string | null;
  readonly partition: number | null;
  readonly filesystem_type: string | null;
  readonly partitions: readonly {
    readonly number: number;
    readonly name: string;
    readonly size_bytes: number | null;
    readonly filesystem_type: string | null;
    readonly filesystem_label: string | null;
  }[];
}

export interface GuestFile {
  readonly type: string;
  readonly mode: string;
  /** Bytes. */
  readonly size: number;
  readonly modified_time: string | null;
  readonly path: string;
  readonly name_encoding: string;
  readonly link_target: string | null;
}

export interface GuestFiles {
  readonly files: readonly GuestFile[];
  readonly next_cursor: string | null;
}

export interface RestoreJob {
  readonly job_id: string;
  readonly status: string;
  readonly progress_percent: number;
  readonly files: readonly string[];
  readonly vm: { readonly start_error: Problem | null } | null;
  readonly error: Problem | null;
}

export interface RestoreExport {
  readonly export_id: string;
  readonly uri: string | null;
}

export interface MountDrivers {
  readonly drivers: readonly { readonly name: string; readonly available: boolean; readonly reason: string | null }[];
}

export interface NbdPort {
  readonly port: number;
  readonly state: string;
}

export interface NbdPool {
  readonly first_port: number;
  readonly last_port: number;
}

export interface StoredEvent {
  readonly position: string;
  readonly type: string;
}

export interface AuditEvent extends StoredEvent {
  readonly stream: string;
  /** The stream's name up to its first dash. */
  readonly category: string;
  readonly revision: number;
  readonly actor: string;
  readonly correlation_id: string;
  readonly time: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Projection {
  readonly name: string;
  readonly state: string;
  readonly lag_seconds: number;
  readonly halted: { readonly position: string; readonly error: string } | null;
}

export interface HistoryEvent {
  readonly type: string;
  readonly stream: string;
  readonly time: string;
  readonly actor: string;
}

export interface HistoryDiff {
  readonly changes: readonly {
    readonly kind: string;
    readonly id: string;
    readonly change: string;
    readonly before: Readonly<Record<string, unknown>> | null;
    readonly after: Readonly<Record<string, unknown>> | null;
    readonly events: readonly HistoryEvent[];
  }[];
}

export interface HistoryExplanation {
  readonly causes: readonly {
    readonly command_id: string;
    readonly actor: string;
    readonly events: readonly HistoryEvent[];
    readonly triggered_by: HistoryEvent | null;
  }[];
}

/** Whether the backup's status is final. */
export function hasEnded({ status }: Backup): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled';
}

/** `node_silent: No report on the transfer arrived for 300 s.` */
export function endingOf({ status, error }: Backup): string {
  return error === null ? `the backup is ${status}` : `${error.code}: ${error.detail}`;
}
