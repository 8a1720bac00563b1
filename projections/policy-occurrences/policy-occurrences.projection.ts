import { unknownVariant } from '../../src/kernel/decider.js';
import type { OccurrenceEvent, RunIdentity } from '../../src/hub/backup/policies/model/occurrence.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { PolicyOccurrenceReadModel, type PolicyOccurrenceRow } from './policy-occurrences.read-model.js';

/** They are in the rows of the VMs. */
const STEPS_OF_A_VM: ReadonlySet<string> = new Set<OccurrenceEvent['type']>([
  'OccurrenceBackupRequested',
  'OccurrenceBackupCancelRequested',
  'OccurrenceBackupEnded',
]);

export const policyOccurrencesProjection: Projection<PolicyOccurrenceRow> = {
  ...PolicyOccurrenceReadModel.definition,
  categories: ['occurrence'],
  keys: ({ stream, type }) => (STEPS_OF_A_VM.has(type) ? [] : [stream.slice(stream.indexOf('-') + 1)]),
  fold(row, recorded) {
    const event = asDomainEvent<OccurrenceEvent>(recorded);
    switch (event.type) {
      case 'OccurrenceStarted':
      case 'OccurrenceCaughtUp': {
        const { left_out, started_at } = event.data;
        return {
          ...identityOf(event.data),
          outcome: event.type === 'OccurrenceStarted' ? 'started' : 'caught_up',
          reason: null,
          detail: null,
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
        const none = { left_out: [], finished_at: null };
        return { ...identityOf(event.data), outcome, reason, detail, ...none, recorded_at, created_position: recorded.position };
      }
      case 'OccurrenceBackupRequested':
      case 'OccurrenceBackupCancelRequested':
      case 'OccurrenceBackupEnded':
        return row ?? null;
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

function known(row: PolicyOccurrenceRow | undefined, stream: string): PolicyOccurrenceRow {
  if (row === undefined) throw new Error(`occurrence stream ${stream} does not begin with the end of the run`);
  return row;
}
