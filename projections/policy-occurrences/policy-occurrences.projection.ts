import { unknownVariant } from '../../src/kernel/decider.js';
import type { OccurrenceEvent, RunIdentity } from '../../src/hub/backup/policies/model/occurrence.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { type OccurrenceVmRow, PolicyOccurrenceReadModel, type PolicyOccurrenceRow } from './policy-occurrences.read-model.js';

export const policyOccurrencesProjection: Projection<PolicyOccurrenceRow> = {
  ...PolicyOccurrenceReadModel.definition,
  categories: ['occurrence'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<OccurrenceEvent>(recorded);
    switch (event.type) {
      case 'OccurrenceStarted':
      case 'OccurrenceCaughtUp': {
        const { vms, left_out, started_at } = event.data;
        return {
          ...identityOf(event.data),
          outcome: event.type === 'OccurrenceStarted' ? 'started' : 'caught_up',
          reason: null,
          detail: null,
          vms: vms.map((vm): OccurrenceVmRow => ({ ...vm, attempt: 1, status: 'planned', backup_id: null, code: null, detail: null })),
          left_out,
          recorded_at: started_at,
          finished_at: null,
          created_position: recorded.position,
        };
      }
      case 'OccurrenceSkipped':
      case 'OccurrenceMissed': {
        const { reason, detail, recorded_at } = event.data;
        const outcome = event.type === 'OccurrenceSkipped' ? 'skipped' : 'missed';
        const none = { vms: [], left_out: [], finished_at: null };
        return { ...identityOf(event.data), outcome, reason, detail, ...none, recorded_at, created_position: recorded.position };
      }
      case 'OccurrenceBackupRequested': {
        const { vm_id, attempt, backup_id } = event.data;
        return withVm(row, recorded.stream, vm_id, (vm) => ({ ...vm, attempt, backup_id, status: 'requested', code: null, detail: null }));
      }
      case 'OccurrenceBackupCancelRequested':
        // Its end carries the reason.
        return known(row, recorded.stream);
      case 'OccurrenceBackupEnded': {
        const { vm_id, attempt, outcome, code, detail, retry_at } = event.data;
        if (retry_at === null) return withVm(row, recorded.stream, vm_id, (vm) => ({ ...vm, attempt, status: outcome, code, detail }));
        return withVm(row, recorded.stream, vm_id, (vm) => ({ ...vm, attempt: attempt + 1, start_at: retry_at, status: 'planned', code, detail }));
      }
      case 'OccurrenceFinished':
        return { ...known(row, recorded.stream), finished_at: event.data.finished_at };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function identityOf({ occurrence_id, policy_id, policy_name, policy_version, trigger, due_at, wall_time, time_zone }: RunIdentity): RunIdentity {
  return { occurrence_id, policy_id, policy_name, policy_version, trigger, due_at, wall_time, time_zone };
}

function withVm(row: PolicyOccurrenceRow | undefined, stream: string, vmId: string, change: (vm: OccurrenceVmRow) => OccurrenceVmRow): PolicyOccurrenceRow {
  const before = known(row, stream);
  return { ...before, vms: before.vms.map((vm) => (vm.vm_id === vmId ? change(vm) : vm)) };
}

function known(row: PolicyOccurrenceRow | undefined, stream: string): PolicyOccurrenceRow {
  if (row === undefined) throw new Error(`occurrence stream ${stream} does not begin with the end of the run`);
  return row;
}
