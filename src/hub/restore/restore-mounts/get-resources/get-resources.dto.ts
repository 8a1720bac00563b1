import { ApiProperty } from '@nestjs/swagger';

export class MountResourceDto {
  @ApiProperty({ enum: ['process', 'loop_device', 'nbd_device', 'mount_point'], example: 'process' }) readonly kind!: string;
  @ApiProperty({ example: 'qemu-storage-daemon' }) readonly name!: string;
  @ApiProperty({ type: 'integer', nullable: true, example: 4711 }) readonly pid!: number | null;
  @ApiProperty({ type: 'boolean', nullable: true, description: 'For a process: whether it is running at the time of the request', example: true })
  readonly alive!: boolean | null;
}

export class MountUsageDto {
  @ApiProperty({ format: 'uuid', example: '5a2f3c1e-0b7d-5e11-9a3c-64f0a52c9e02' }) readonly mount_id!: string;
  @ApiProperty({ format: 'uuid', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly backup_id!: string;
  @ApiProperty({ enum: ['mounting', 'mounted', 'unmounting'], example: 'mounted' }) readonly status!: string;
  @ApiProperty({ type: 'integer', description: 'Downloads in progress', example: 0 }) readonly active_downloads!: number;
  @ApiProperty({ type: [MountResourceDto] }) readonly resources!: readonly MountResourceDto[];
}

export class DriverDto {
  @ApiProperty({ enum: ['fuse', 'nbd', 'guestfs'], example: 'nbd' }) readonly name!: string;
  @ApiProperty({ example: false }) readonly available!: boolean;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description: 'Why the driver is not available',
    example: 'the kernel has no nbd devices; load the module (modprobe nbd)',
  })
  readonly reason!: string | null;
}

export class ResourcesDto {
  @ApiProperty({ type: 'integer', example: 8 }) readonly slots_total!: number;
  @ApiProperty({ type: 'integer', example: 1 }) readonly slots_used!: number;
  @ApiProperty({ type: 'integer', example: 7 }) readonly slots_free!: number;
  @ApiProperty({ enum: ['auto', 'fuse', 'nbd', 'guestfs'], description: 'As configured', example: 'auto' }) readonly mount_driver!: string;
  @ApiProperty({ type: [DriverDto] }) readonly drivers!: readonly DriverDto[];
  @ApiProperty({ type: [MountUsageDto] }) readonly mounts!: readonly MountUsageDto[];
}
