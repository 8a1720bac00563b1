import { IsIn, IsInt, IsString, Max, MaxLength, Min, MinLength } from 'class-validator';
import { NODE_QUIESCE, type NodeQuiesce } from '../../../../contract/words.js';
import type { RequestedBackupType } from '../model/backup.events.js';
import { Optional, OptionalOrNull } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const BACKUP_TYPES: readonly RequestedBackupType[] = ['full', 'incremental', 'auto'];

/** Exactly one of vm_name and vm_id is given. A backup always covers the whole VM, so disks cannot be selected. */
export class StartBackupRequest {
  /** Name of the VM; instead of vm_id @example "pgtest1" */
  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(255)
  vm_name?: string;

  /** Id of the VM; instead of vm_name @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */
  @Optional()
  @IsUuid()
  vm_id?: string;

  /** Repository that stores the restore point @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */
  @IsUuid()
  repository_id!: string;

  /** `auto` makes an incremental if possible, otherwise a full that gives the reason */
  @IsIn(BACKUP_TYPES)
  backup_type!: RequestedBackupType;

  /** The policy that the backup is for, whose current version is recorded @example null */
  @OptionalOrNull()
  @IsUuid()
  policy_id?: string | null;

  /**
   * Whether the guest's file systems are frozen at the instant, for sources with running guests. `try` (the default): if the guest agent can; `require`: the
   * backup fails if it cannot
   */
  @Optional()
  @IsIn(NODE_QUIESCE)
  quiesce?: NodeQuiesce;

  /** Maximum rate at which all disks together are read, in bytes per second; null: no limit @example null */
  @OptionalOrNull()
  @IsInt()
  @Min(65_536)
  @Max(Number.MAX_SAFE_INTEGER)
  bandwidth_limit_bps?: number | null;
}
