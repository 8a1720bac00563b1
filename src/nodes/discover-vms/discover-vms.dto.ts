import { ApiProperty } from '@nestjs/swagger';

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
  @ApiProperty({ type: DiscoveredProblemDto, nullable: true, description: 'Why the disk cannot be backed up just now', example: null })
  readonly problem!: DiscoveredProblemDto | null;
}

export class DiscoveredVmDto {
  @ApiProperty({ example: 'pgtest1' })
  readonly name!: string;
  @ApiProperty({ enum: ['image'], example: 'image' })
  readonly source!: string;
  @ApiProperty({ example: '/var/lib/sendense/images/pgtest1' })
  readonly source_ref!: string;
  @ApiProperty({ type: [DiscoveredDiskDto] })
  readonly disks!: readonly DiscoveredDiskDto[];
  @ApiProperty({ type: 'string', nullable: true, description: 'The VM it is registered as', example: null })
  readonly registered_vm_id!: string | null;
}

export class DiscoveryDto {
  @ApiProperty({ type: [DiscoveredVmDto] })
  readonly vms!: readonly DiscoveredVmDto[];
}
