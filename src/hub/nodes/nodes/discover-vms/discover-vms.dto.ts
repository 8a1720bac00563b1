import type { NodeSource, NodeVmState } from '../../../../contract/words.js';

export class DiscoveredProblemDto {
  /** @example "disk_in_use" */ readonly code!: string;
  /** @example "disk0.qcow2 is held open for writing by process 4711." */ readonly detail!: string;
}

export class DiscoveredDiskDto {
  /** @example 0 */ readonly disk_id!: number;
  /** @example "disk0.qcow2" */ readonly disk_key!: string;
  /** Virtual size in bytes @example 2147483648 */ readonly size_bytes!: number;
  readonly format!: 'qcow2' | 'raw';
  readonly change_tracking!: boolean;
  /** Why the disk cannot be backed up at the moment */ readonly problem!: DiscoveredProblemDto | null;
}

export class DiscoveredLeftOutDto {
  /** @example "sda" */ readonly disk_key!: string;
  /** For example `cdrom`, `floppy`, `read_only`, `shared`, `passthrough`, `network_disk` @example "cdrom" */
  readonly reason!: string;
  /** @example "It is a CD-ROM drive." */ readonly detail!: string;
}

export class DiscoveredVmDto {
  /** @example "pgtest1" */ readonly name!: string;
  readonly source!: NodeSource;
  /** @example "/var/lib/sendense/images/pgtest1" */ readonly source_ref!: string;
  readonly disks!: readonly DiscoveredDiskDto[];
  /** Devices that backups leave out, and why */ readonly left_out_disks!: readonly DiscoveredLeftOutDto[];
  /** The hypervisor's own id of the VM; null if it has none @example null */ readonly uuid!: string | null;
  /** null if the source does not know */ readonly state!: NodeVmState | null;
  /** Id under which the VM is registered @example null */ readonly registered_vm_id!: string | null;
}

export class SilentSourceDto {
  readonly source!: NodeSource;
  /** @example "source_silent" */ readonly code!: string;
  /** @example "The source \"libvirt\" did not list its VMs within 5000 ms." */ readonly detail!: string;
}

export class DiscoveryDto {
  readonly vms!: readonly DiscoveredVmDto[];
  /** Sources of the node that failed or were too slow; their VMs are missing from the list @example [] */
  readonly silent_sources!: readonly SilentSourceDto[];
}
