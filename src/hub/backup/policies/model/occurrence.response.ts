import type { PipelineReadModel } from '../../../../../projections/pipelines/pipelines.read-model.js';
import type { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import type { PolicyRunVmReadModel } from '../../../../../projections/policy-run-vms/policy-run-vms.read-model.js';

export class PipelineStepResponse {
  /** `verify`: its files are verified. `boot_check`: it is booted. */ readonly step!: 'verify' | 'boot_check';
  /** `aborted`: without a verdict; `refused`: it could not begin */
  readonly status!: 'pending' | 'running' | 'passed' | 'failed' | 'aborted' | 'refused';
  /** Listed by GET /backups/{backup_id}/verifications; null: not requested yet @example null */ readonly verification_id!: string | null;
  /** Why it did not pass @example null */ readonly code!: string | null;
  /** @example null */ readonly detail!: string | null;
}

export class OccurrenceVmResponse {
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** The rule that selected it @example "name pg*" */ readonly because!: string;
  /** When its backup, or the next attempt, is requested @example "2026-11-21T21:03:20.000Z" */ readonly start_at!: string;
  /** From 1 @example 1 */ readonly attempt!: number;
  readonly status!: 'planned' | 'requested' | 'completed' | 'failed' | 'cancelled' | 'refused';
  /** The newest backup; null: none was requested yet @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string | null;
  /** Why the newest attempt did not complete @example null */ readonly code!: string | null;
  /** @example null */ readonly detail!: string | null;
  /** What the policy has checked after the backup */ readonly checks!: PipelineStepResponse[];
}

export class LeftOutVmResponse {
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5c" */ readonly vm_id!: string;
  /** @example "pgtest2" */ readonly vm_name!: string;
  /** @example "excluded by label scratch" */ readonly because!: string;
}

/** A run that a policy expected, or that was asked for, and its one end. */
export class OccurrenceResponse {
  /** @example "9b1d3c1f-1511-5c3e-8a55-0199a3c00e5b" */ readonly occurrence_id!: string;
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** Name at the time of the run @example "nightly" */ readonly policy_name!: string;
  /** The version that the run follows @example 1 */ readonly policy_version!: number;
  readonly trigger!: 'schedule' | 'manual';
  /** @example "2026-11-21T21:00:00.000Z" */ readonly due_at!: string;
  /** The planned time in the policy's time zone; with a Z in UTC @example "2026-11-21T22:00" */ readonly wall_time!: string;
  /** @example "Europe/Berlin" */ readonly time_zone!: string;
  readonly outcome!: 'started' | 'caught_up' | 'skipped' | 'missed';
  /**
   * Why it did not start: `paused`, `blackout`, `window_closed`, `no_vm_matched`, `previous_running`, `node_offline`, `repository_unavailable`, `policy_deleted`,
   * `hub_down`
   * @example null
   */
  readonly reason!: string | null;
  /** @example null */ readonly detail!: string | null;
  readonly vms!: OccurrenceVmResponse[];
  readonly left_out!: LeftOutVmResponse[];
  /** When its end was recorded @example "2026-11-21T21:00:00.012Z" */ readonly recorded_at!: string;
  /** When the last of its backups ended @example null */ readonly finished_at!: string | null;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}

/** @param vms those of the run, in order @param pipelines those of the restore points of the run */
export function toOccurrenceResponse(
  row: PolicyOccurrenceReadModel,
  vms: readonly PolicyRunVmReadModel[],
  pipelines: readonly PipelineReadModel[],
): OccurrenceResponse {
  const checks = new Map(pipelines.map(({ backup_id, steps }) => [backup_id, steps]));
  const { occurrence_id, policy_id, policy_name, policy_version, trigger, wall_time, time_zone, outcome, reason, detail, left_out, position } = row;
  return {
    occurrence_id,
    policy_id,
    policy_name,
    policy_version,
    trigger,
    due_at: row.due_at.toISOString(),
    wall_time,
    time_zone,
    outcome,
    reason,
    detail,
    vms: vms.map(({ vm_id, vm_name, because, start_at, attempt, status, backup_id, code, detail: why }) => ({
      vm_id,
      vm_name,
      because,
      start_at: start_at.toISOString(),
      attempt,
      status,
      backup_id,
      code,
      detail: why,
      checks: [...(checks.get(backup_id ?? '') ?? [])],
    })),
    left_out: [...left_out],
    recorded_at: row.recorded_at.toISOString(),
    finished_at: row.finished_at?.toISOString() ?? null,
    position: vms.reduce((newest, vm) => (vm.position > newest ? vm.position : newest), position),
  };
}
