import { ApiProperty } from '@nestjs/swagger';
import { NODE_SOURCES, NODE_VM_STATES, type NodeVmState } from '../../../../contract/node-api.js';

export class DiscoveredProblemDto {
  @ApiProperty({ example: 'disk_in_use' })
  readonly code!: string;
  @ApiProperty({ example: 'disk0.qcow2 is held open for writing by process 4711.' })
  readonly detail!: string;
}

export class DiscoveredDiskDto {
  @ApiProperty({ example: 0 })
  readonly disk_id!: number;
  @ApiProperty({ example: 'disk0.qcow2' })
  readonly disk_key!: string;
  @ApiProperty({ description: 'Virtual size in bytes', example: 2_147_483_648 })
  readonly size_bytes!: number;
  @ApiProperty({ enum: ['qcow2', 'raw'], example: 'qcow2' })
  readonly format!: string;
  @ApiProperty({ example: true })
  readonly change_tracking!: boolean;
  @ApiProperty({ type: DiscoveredProblemDto, nullable: true, description: 'Why the disk cannot be backed up at the moment', example: null })
  readonly problem!: DiscoveredProblemDto | null;
}

export class DiscoveredLeftOutDto {
  @ApiProperty({ example: 'sda' })
  readonly disk_key!: string;
  @ApiProperty({ description: 'For example `cdrom`, `floppy`, `read_only`, `shared`, `passthrough`, `network_disk`', example: 'cdrom' })
  readonly reason!: string;
  @ApiProperty({ example: 'It is a CD-ROM drive.' })
  readonly detail!: string;
}

export class DiscoveredVmDto {
  @ApiProperty({ example: 'pgtest1' })
  readonly name!: string;
  @ApiProperty({ enum: NODE_SOURCES, example: 'image' })
  readonly source!: string;
  @ApiProperty({ example: '/var/lib/sendense/images/pgtest1' })
  readonly source_ref!: string;
  @ApiProperty({ type: [DiscoveredDiskDto] })
  readonly disks!: readonly DiscoveredDiskDto[];
  @ApiProperty({ type: [DiscoveredLeftOutDto], description: 'Devices that backups leave out, and why' })
  readonly left_out_disks!: readonly DiscoveredLeftOutDto[];
  @ApiProperty({ type: 'string', nullable: true, description: "The hypervisor's own id of the VM; null if it has none", example: null })
  readonly uuid!: string | null;
  @ApiProperty({ enum: NODE_VM_STATES, nullable: true, description: 'null if the source does not know', example: null })
  readonly state!: NodeVmState | null;
  @ApiProperty({ type: 'string', nullable: true, description: 'Id under which the VM is registered', example: null })
  readonly registered_vm_id!: string | null;
}

export class SilentSourceDto {
  @ApiProperty({ enum: NODE_SOURCES, example: 'libvirt' })
  readonly source!: string;
  @ApiProperty({ example: 'source_silent' })
  readonly code!: string;
  @ApiProperty({ example: 'The source "libvirt" did not list its VMs within 5000 ms.' })
  readonly detail!: string;
}

export class DiscoveryDto {
  @ApiProperty({ type: [DiscoveredVmDto] })
  readonly vms!: readonly DiscoveredVmDto[];
  @ApiProperty({
    type: [SilentSourceDto],
    description: 'Sources of the node that failed or were too slow; their VMs are missing from the list',
    example: [],
  })
  readonly silent_sources!: readonly SilentSourceDto[];
}
