import { IsIn, IsNotEmpty, IsString, Matches, MaxLength } from 'class-validator';
import { NODE_SOURCES } from '../../../../contract/words.js';
import type { VmDisk, VmSource } from '../model/vm.events.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const SOURCES = NODE_SOURCES;
/** An absolute path, or a uuid. */
const SOURCE_REF = /^(\/[^\p{Cc}]*|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$/u;

export class RegisterVmDto {
  /** Unique. Spaces and all writing systems are allowed; slashes, control characters and shell metacharacters are not @example "pgtest1" */
  @IsString()
  @MaxLength(128)
  readonly name!: string;

  /** The node that has the VM; may be omitted while there is only one node @example "0193a5c2-7d1e-7000-8000-000000000002" */
  @Optional()
  @IsString()
  @IsNotEmpty()
  @MaxLength(64)
  readonly node_id?: string;

  @IsIn(SOURCES)
  readonly source!: VmSource;

  /**
   * For `image` the absolute path on the node of the folder with the disk files; for `libvirt` the uuid of the domain
   * @example "/var/lib/sendense/images/pgtest1"
   */
  @IsString()
  @MaxLength(4096)
  @Matches(SOURCE_REF, { message: 'source_ref must be an absolute path without control characters, or the uuid of a domain' })
  readonly source_ref!: string;
}

export class RegisteredVmDiskDto implements VmDisk {
  /** @example 0 */ readonly disk_id!: number;
  /** @example "disk0.qcow2" */ readonly disk_key!: string;
  /** Virtual size in bytes @example 2147483648 */ readonly size_bytes!: number;
  /** @example "qcow2" */ readonly format!: string;
  /** Whether incrementals of this disk are possible */ readonly change_tracking!: boolean;
}

export class RegisteredVmDto {
  /** @format uuid @example "0193a5c2-7d1e-7000-8000-000000000001" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly name!: string;
  /** @example "0193a5c2-7d1e-7000-8000-000000000002" */ readonly node_id!: string;
  readonly source!: VmSource;
  /** The node's reference to the VM @example "/var/lib/sendense/images/pgtest1" */ readonly source_ref!: string;
  readonly disks!: readonly RegisteredVmDiskDto[];
  /** @format date-time @example "2026-11-21T10:15:00.000Z" */ readonly registered_at!: string;
  /** Position of the registration; use it in ?after= @example "0000000000000000042" */
  readonly position!: string | null;
}
