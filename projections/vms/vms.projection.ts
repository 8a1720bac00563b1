import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { VmDisk, VmEvent } from '../../src/hub/backup/vms/model/vm.events.js';
import { VmReadModel, type VmRow } from './vms.read-model.js';

export const vmsProjection: Projection<VmRow> = {
  ...VmReadModel.definition,
  categories: ['vm'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<VmEvent>(recorded);
    switch (event.type) {
      case 'VmRegistered': {
        const { vm_id, name, node_id, source, source_ref, disks, registered_at } = event.data;
        return {
          vm_id,
          name,
          node_id,
          source,
          source_ref,
          disks,
          total_size_bytes: totalOf(disks),
          registered_at,
          disks_observed_at: registered_at,
          problem: null,
          labels: [],
          labels_set_at: null,
        };
      }
      case 'VmDisksChanged':
        if (row === undefined) throw new Error(`VM stream ${recorded.stream} has VmDisksChanged where no VM is registered`);
        return { ...row, disks: event.data.disks, total_size_bytes: totalOf(event.data.disks), disks_observed_at: event.data.observed_at };
      case 'VmProblemFound':
      case 'VmProblemSolved':
        if (row === undefined) throw new Error(`VM stream ${recorded.stream} has ${event.type} where no VM is registered`);
        return { ...row, problem: event.type === 'VmProblemFound' ? event.data : null };
      case 'VmLabelsSet':
        if (row === undefined) throw new Error(`VM stream ${recorded.stream} has VmLabelsSet where no VM is registered`);
        return { ...row, labels: event.data.labels, labels_set_at: event.data.set_at };
      case 'VmRemoved':
        return null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function totalOf(disks: readonly VmDisk[]): number {
  return disks.reduce((sum, disk) => sum + disk.size_bytes, 0);
}
