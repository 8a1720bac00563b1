import type { NodeSource } from '../../../../contract/words.js';
import type { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';

export class VmDiskResponse {
  /** Index of the disk, from 0, in the order of the source @example 0 */ readonly disk_id!: number;
  /** Stable name of the disk at its source @example "disk0.qcow2" */ readonly disk_key!: string;
  /** Size of the disk as the guest sees it @example 2147483648 */ readonly size_bytes!: number;
  /** @example "qcow2" */ readonly format!: string;
  /** Whether the source can list changed blocks of this disk */ readonly change_tracking!: boolean;
}

export class VmProblemResponse {
  /** @example "backup_job_lost" */ readonly code!: string;
  /**
   * What happened and what to do
   * @example "libvirt holds the VM for a backup job ... Shut the VM down, restart libvirtd while it is off, and start it again."
   */
  readonly detail!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly found_at!: string;
}

/** A protected VM as all routes of the API show it. */
export class VmResponse {
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly name!: string;
  /** @example "0199a3c0-0001-7000-8000-00000000000a" */ readonly node_id!: string;
  readonly source!: NodeSource;
  /** The node's reference to the VM @example "/var/lib/sendense/images/pgtest1" */ readonly source_ref!: string;
  readonly disks!: VmDiskResponse[];
  /** @example 3221225472 */ readonly total_size_bytes!: number;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly registered_at!: string;
  /** When its disks were last found changed @example "2026-11-21T10:30:00.000Z" */ readonly disks_observed_at!: string;
  /** By which policies select it @example ["env=prod"] */ readonly labels!: readonly string[];
  /** Why the VM cannot be backed up until someone intervenes; null while no problem is known */
  readonly problem!: VmProblemResponse | null;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}

export function toVmResponse(vm: VmReadModel): VmResponse {
  return {
    vm_id: vm.vm_id,
    name: vm.name,
    node_id: vm.node_id,
    source: vm.source,
    source_ref: vm.source_ref,
    disks: vm.disks.map(({ disk_id, disk_key, size_bytes, format, change_tracking }) => ({ disk_id, disk_key, size_bytes, format, change_tracking })),
    total_size_bytes: Number(vm.total_size_bytes),
    registered_at: vm.registered_at.toISOString(),
    disks_observed_at: vm.disks_observed_at.toISOString(),
    labels: vm.labels,
    problem: vm.problem,
    position: vm.position,
  };
}
