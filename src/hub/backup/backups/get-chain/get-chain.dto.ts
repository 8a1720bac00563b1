import { IsString, Length } from 'class-validator';
import { BackupResponse, type DamageCode } from '../model/backup.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class GetChainQuery {
  /** Name of the VM @example "pgtest1" */
  @IsString()
  @Length(1, 255)
  vm_name!: string;

  /** Only chains in this repository @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */
  @Optional()
  @IsUuid()
  repository_id?: string;
}

export class RestorePointDamageResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** Stable code, as in `damage` of the backup */ readonly code!: DamageCode;
  /** @example "disk-0.qcow2 has 100 bytes, 1074135040 were sealed" */ readonly detail!: string;
}

export class PruningFailureResponse {
  /** Stable code @example "restore_point_damaged" */ readonly code!: string;
  /** @example "The file \"/srv/backups/pgtest1-3c1f0e5b/20261122T103000Z-incr-0e5b7a12/disk-0.qcow2\" was altered." */ readonly detail!: string;
  /** @example "2026-12-01T00:00:00.000Z" */ readonly failed_at!: string;
}

export class ChainResponse {
  /** @example "5d0c7b52-7a57-5f0f-8f0a-1f2e3d4c5b6a" */ readonly chain_id!: string;
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly full_backup_id!: string;
  /** The newest restore point @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a12" */ readonly head_backup_id!: string;
  /** The full first, then its incrementals in order */ readonly backups!: BackupResponse[];
  /** @example 2 */ readonly backup_count!: number;
  /** Total length of all QCOW2 files of the chain @example 1074200576 */ readonly total_size_bytes!: number;
  /** Damaged restore points; no incremental may be based on them @example [] */
  readonly damaged!: RestorePointDamageResponse[];
  /** Restore points that are being removed; see `POST /vms/{id}/prune` @example [] */
  readonly pruning!: readonly string[];
  /** Why the last pruning did not remove all that it was to; null: it did, or there was none @example null */
  readonly pruning_failure!: PruningFailureResponse | null;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}
