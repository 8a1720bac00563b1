import { ArrayMaxSize, ArrayMinSize, ArrayUnique, IsArray, IsBoolean, Matches } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class PruneVmDto {
  /** Ids of the backups whose restore points are removed @example ["0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11"] */
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(1000)
  @ArrayUnique()
  @Matches(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, { each: true, message: 'each of remove must be a UUID' })
  readonly remove!: readonly string[];

  /** Only show the plan @example true */
  @Optional()
  @IsBoolean()
  readonly dry_run?: boolean;
}

export class PruneStepResponse {
  /** drop: its files are removed; flatten: it becomes a full; absorb: it takes in the restore points between it and its new parent */
  readonly kind!: 'drop' | 'flatten' | 'absorb';
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a12" */ readonly backup_id!: string;
  /** Its parent after the step; null for drop and flatten @example null */ readonly parent_backup_id!: string | null;
  /** Restore points whose data it contains afterwards, newest first @example ["0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11"] */
  readonly merged!: readonly string[];
  /** @example 3222405120 */ readonly read_bytes!: number;
  /** At most @example 1074135040 */ readonly write_bytes!: number;
  /** Change of the length of all files together, negative if they grow @example -1048576 */ readonly free_bytes!: number;
}

export class PruneLeftResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** A damaged restore point that depends on it @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a12" */ readonly needed_by!: string;
}

export class ChainPruningResponse {
  /** @example "5d0c7b52-7a57-5f0f-8f0a-1f2e3d4c5b6a" */ readonly chain_id!: string;
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** In this order */ readonly steps!: readonly PruneStepResponse[];
  /** Restore points that stay, because damaged ones depend on them */ readonly left!: readonly PruneLeftResponse[];
  /** @example 3222405120 */ readonly read_bytes!: number;
  /** At most @example 1074135040 */ readonly write_bytes!: number;
  /** Free space that the largest step needs, at most @example 1074135040 */ readonly needed_bytes!: number;
  /** @example 1073741824 */ readonly free_bytes!: number;
}

export class VmPruningResponse {
  /** Whether nothing is removed @example true */ readonly dry_run!: boolean;
  readonly chains!: readonly ChainPruningResponse[];
  /** For ?after=; null for a dry run @example "0000000000000000042" */ readonly position!: string | null;
}
