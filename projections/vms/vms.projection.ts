import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { VmDisk, VmEvent, VmSource } from '../../src/hub/backup/vms/model/vm.events.js';

export type VmRow = {
  readonly vm_id: string;
  readonly name: string;
  readonly node_id: string;
  readonly source: VmSource;
  readonly source_ref: string;
  readonly disks: readonly VmDisk[];
  readonly total_size_bytes: number;
  readonly registered_at: string;
  readonly disks_observed_at: string;
  /** Why the VM cannot be backed up; null: its node knows of no problem. */
  readonly problem: { readonly code: string; readonly detail: string; readonly found_at: string } | null;
};

export const vmsProjection: Projection<VmRow> = {
  name: 'vms',
  categories: ['vm'],
  key: 'vm_id',
  columns: {
    vm_id: 'text',
    name: 'text',
    node_id: 'text',
    source: 'text',
    source_ref: 'text',
    disks: 'jsonb',
    total_size_bytes: 'bigint',
    registered_at: 'timestamptz',
    disks_observed_at: 'timestamptz',
    problem: 'jsonb',
  },
  nullable: { problem: true },
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
        };
      }
      case 'VmDisksChanged':
        if (row === undefined) throw new Error(`VM stream ${recorded.stream} has VmDisksChanged where no VM is registered`);
        return { ...row, disks: event.data.disks, total_size_bytes: totalOf(event.data.disks), disks_observed_at: event.data.observed_at };
      case 'VmProblemFound':
      case 'VmProblemSolved':
        if (row === undefined) throw new Error(`VM stream ${recorded.stream} has ${event.type} where no VM is registered`);
        return { ...row, problem: event.type === 'VmProblemFound' ? event.data : null };
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
