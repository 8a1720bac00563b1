import type { DomainEvent } from '../../../../kernel/event.js';
import type { BlackoutSettings } from './blackout.events.js';
import type { PolicySettings, VerificationRules } from './policy.events.js';

/** Why an expected run did not start. These codes are part of the API and stable. */
export type SkipCode =
  'paused' | 'blackout' | 'window_closed' | 'no_vm_matched' | 'previous_running' | 'node_offline' | 'repository_unavailable' | 'policy_deleted';
export type MissCode = 'hub_down';

/** A run that a schedule expects, or that was asked for. */
export type RunIdentity = {
  readonly occurrence_id: string;
  readonly policy_id: string;
  readonly policy_name: string;
  /** The version in force at its time. */
  readonly policy_version: number;
  readonly trigger: 'schedule' | 'manual';
  readonly due_at: string;
  /** The planned time in the time zone; for `every N` and runs that were asked for in UTC, with a Z. */
  readonly wall_time: string;
  readonly time_zone: string;
};

export type OccurrenceVm = { readonly vm_id: string; readonly vm_name: string; readonly because: string; readonly start_at: string };

/** Why the hub cancels a backup of a run. These codes are part of the API and stable. */
export type CancelCode = 'window_closed' | 'blackout' | 'concurrency_timeout';

/** Rules of the policy's version for backups that have been requested, and for what follows them. */
export type RunRules = {
  /** When backups may run; null: they always finish. */
  readonly run_within:
    | (Pick<PolicySettings, 'start_window' | 'blackouts'> & {
        /** Those that the policy refers to; omitted by early hubs: none. */
        readonly shared_blackouts?: readonly Omit<BlackoutSettings, 'name'>[];
      })
    | null;
  readonly concurrency_timeout_seconds: number | null;
  readonly verification: VerificationRules | null;
};

type Begun = RunIdentity & {
  readonly repository_id: string;
  readonly backup_type: 'auto' | 'full' | 'incremental';
  readonly vms: readonly OccurrenceVm[];
  readonly left_out: readonly { readonly vm_id: string; readonly vm_name: string; readonly because: string }[];
  readonly started_at: string;
  /** Omitted by early hubs: none. */
  readonly rules?: RunRules;
};
export type OccurrenceStarted = DomainEvent<'OccurrenceStarted', Begun>;
/** It started late, because the hub was not running at its time. */
export type OccurrenceCaughtUp = DomainEvent<'OccurrenceCaughtUp', Begun>;
export type OccurrenceSkipped = DomainEvent<
  'OccurrenceSkipped',
  RunIdentity & { readonly reason: SkipCode; readonly detail: string; readonly recorded_at: string }
>;
export type OccurrenceMissed = DomainEvent<
  'OccurrenceMissed',
  RunIdentity & { readonly reason: MissCode; readonly detail: string; readonly recorded_at: string }
>;
export type OccurrenceBackupRequested = DomainEvent<
  'OccurrenceBackupRequested',
  { readonly vm_id: string; readonly attempt: number; readonly backup_id: string; readonly requested_at: string }
>;
/** The backup is about to be cancelled; it may complete nevertheless. */
export type OccurrenceBackupCancelRequested = DomainEvent<
  'OccurrenceBackupCancelRequested',
  { readonly vm_id: string; readonly attempt: number; readonly backup_id: string; readonly reason: CancelCode; readonly requested_at: string }
>;
export type OccurrenceBackupEnded = DomainEvent<
  'OccurrenceBackupEnded',
  {
    readonly vm_id: string;
    readonly attempt: number;
    /** `refused`: the backup could not be requested. */
    readonly outcome: 'completed' | 'failed' | 'cancelled' | 'refused';
    /** null: it completed, or somebody cancelled it. The hub's own cancellations have the code of their reason. */
    readonly code: string | null;
    readonly detail: string | null;
    /** null: it is not tried again. */
    readonly retry_at: string | null;
    readonly ended_at: string;
  }
>;
/** No backup of it is left to do. */
export type OccurrenceFinished = DomainEvent<
  'OccurrenceFinished',
  { readonly completed: number; readonly not_completed: number; readonly finished_at: string }
>;

/** The one event that says how an expected run ended; the first of its stream. */
export type OccurrenceEnding = OccurrenceStarted | OccurrenceCaughtUp | OccurrenceSkipped | OccurrenceMissed;
/** Stream `occurrence-<occurrence_id>`. */
export type OccurrenceEvent = OccurrenceEnding | OccurrenceBackupRequested | OccurrenceBackupCancelRequested | OccurrenceBackupEnded | OccurrenceFinished;

export function occurrenceStream(occurrenceId: string): string {
  return `occurrence-${occurrenceId}`;
}
