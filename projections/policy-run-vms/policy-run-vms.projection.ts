import { unknownVariant } from '../../src/kernel/decider.js';
import type { OccurrenceEvent } from '../../src/hub/backup/policies/model/occurrence.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { PolicyRunVmReadModel, type PolicyRunVmRow } from './policy-run-vms.read-model.js';

export const policyRunVmsProjection: Projection<PolicyRunVmRow> = {
  ...PolicyRunVmReadModel.definition,
  categories: ['occurrence'],
  keys(recorded) {
    const event = asDomainEvent<OccurrenceEvent>(recorded);
    const keyOf = (vmId: string): string => `${recorded.stream.slice(recorded.stream.indexOf('-') + 1)}/${vmId}`;
    switch (event.type) {
      case 'OccurrenceStarted':
      case 'OccurrenceCaughtUp':
        return event.data.vms.map(({ vm_id }) => keyOf(vm_id));
      case 'OccurrenceBackupRequested':
      case 'OccurrenceBackupEnded':
        return [keyOf(event.data.vm_id)];
      case 'OccurrenceBackupCancelRequested':
      case 'OccurrenceSkipped':
      case 'OccurrenceMissed':
      case 'OccurrenceFinished':
        return [];
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
  fold(row, recorded, key) {
    const event = asDomainEvent<OccurrenceEvent>(recorded);
    switch (event.type) {
      case 'OccurrenceStarted':
      case 'OccurrenceCaughtUp': {
        const [occurrence_id = '', vm_id = ''] = key.split('/');
        const place = placesOf(event).get(vm_id) ?? 0;
        const vm = event.data.vms[place];
        if (vm === undefined) throw new Error(`the run ${occurrence_id} has no VM ${vm_id}`);
        const { vm_name, because, start_at } = vm;
        return {
          run_vm_id: key,
          occurrence_id,
          vm_id,
          vm_name,
          place,
          because,
          start_at,
          attempt: 1,
          status: 'planned',
          backup_id: null,
          code: null,
          detail: null,
        };
      }
      case 'OccurrenceBackupRequested': {
        const { attempt, backup_id } = event.data;
        return row === undefined ? null : { ...row, attempt, backup_id, status: 'requested', code: null, detail: null };
      }
      case 'OccurrenceBackupEnded': {
        const { attempt, outcome, code, detail, retry_at } = event.data;
        if (row === undefined) return null;
        if (retry_at === null) return { ...row, attempt, status: outcome, code, detail };
        return { ...row, attempt: attempt + 1, start_at: retry_at, status: 'planned', code, detail };
      }
      case 'OccurrenceBackupCancelRequested':
      case 'OccurrenceSkipped':
      case 'OccurrenceMissed':
      case 'OccurrenceFinished':
        return row ?? null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

type Started = Extract<OccurrenceEvent, { readonly type: 'OccurrenceStarted' | 'OccurrenceCaughtUp' }>;

/** By VM, its index in the event. Looked up once for each VM of the event. */
const places = new WeakMap<Started['data'], ReadonlyMap<string, number>>();

function placesOf({ data }: Started): ReadonlyMap<string, number> {
  const found = places.get(data) ?? new Map(data.vms.map(({ vm_id }, index) => [vm_id, index]));
  places.set(data, found);
  return found;
}
