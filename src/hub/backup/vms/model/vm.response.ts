import { ApiProperty } from '@nestjs/swagger';
import { NODE_SOURCES } from '../../../../contract/node-api.js';
import type { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';

export class VmDiskResponse {
  @ApiProperty({ description: 'Index of the disk, from 0, in the order of the source', example: 0 }) readonly disk_id!: number;
  @ApiProperty({ description: 'Stable name of the disk at its source', example: 'disk0.qcow2' }) readonly disk_key!: string;
  @ApiProperty({ description: 'Size of the disk as the guest sees it', example: 2147483648 }) readonly size_bytes!: number;
  @ApiProperty({ example: 'qcow2' }) readonly format!: string;
  @ApiProperty({ description: 'Whether the source can list changed blocks of this disk', example: true }) readonly change_tracking!: boolean;
}

export class VmProblemResponse {
  @ApiProperty({ example: 'backup_job_lost' }) readonly code!: string;
  @ApiProperty({
    description: 'What happened and what to do',
    example: 'libvirt holds the VM for a backup job ... Shut the VM down, restart libvirtd while it is off, and start it again.',
  })
  readonly detail!: string;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly found_at!: string;
}

/** A protected VM as all routes of the API show it. */
export class VmResponse {
  @ApiProperty({ example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' }) readonly vm_id!: string;
  @ApiProperty({ example: 'pgtest1' }) readonly name!: string;
  @ApiProperty({ example: '0199a3c0-0001-7000-8000-00000000000a' }) readonly node_id!: string;
  @ApiProperty({ enum: NODE_SOURCES, example: 'image' }) readonly source!: string;
  @ApiProperty({ description: "The node's reference to the VM", example: '/var/lib/sendense/images/pgtest1' }) readonly source_ref!: string;
  @ApiProperty({ type: [VmDiskResponse] }) readonly disks!: VmDiskResponse[];
  @ApiProperty({ example: 3221225472 }) readonly total_size_bytes!: number;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly registered_at!: string;
  @ApiProperty({ description: 'When its disks were last found changed', example: '2026-11-21T10:30:00.000Z' }) readonly disks_observed_at!: string;
  @ApiProperty({
    type: VmProblemResponse,
    nullable: true,
    description: 'Why the VM cannot be backed up until someone intervenes; null while no problem is known',
  })
  readonly problem!: VmProblemResponse | null;
  @ApiProperty({ description: 'Position of the last event reflected in this response; opaque', example: '0000000000000000042' }) readonly position!: string;
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
    problem: vm.problem,
    position: vm.position,
  };
}
