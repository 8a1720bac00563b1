export class MountResourceDto {
  readonly kind!: 'process' | 'loop_device' | 'nbd_device' | 'mount_point';
  /** @example "qemu-storage-daemon" */ readonly name!: string;
  /** @integer @example 4711 */ readonly pid!: number | null;
  /** For a process: whether it is running at the time of the request */ readonly alive!: boolean | null;
}

export class MountUsageDto {
  /** @format uuid @example "5a2f3c1e-0b7d-5e11-9a3c-64f0a52c9e02" */ readonly mount_id!: string;
  /** @format uuid @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  readonly status!: 'mounting' | 'mounted' | 'unmounting';
  /** Downloads in progress @integer @example 0 */ readonly active_downloads!: number;
  readonly resources!: readonly MountResourceDto[];
}

export class DriverDto {
  readonly name!: 'fuse' | 'nbd' | 'guestfs';
  readonly available!: boolean;
  /** Why the driver is not available @example "the kernel has no nbd devices; load the module (modprobe nbd)" */
  readonly reason!: string | null;
}

export class ResourcesDto {
  /** @integer @example 8 */ readonly slots_total!: number;
  /** @integer @example 1 */ readonly slots_used!: number;
  /** @integer @example 7 */ readonly slots_free!: number;
  /** As configured */ readonly mount_driver!: 'auto' | 'fuse' | 'nbd' | 'guestfs';
  readonly drivers!: readonly DriverDto[];
  readonly mounts!: readonly MountUsageDto[];
}
