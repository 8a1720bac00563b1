import { IsBoolean, IsIn, IsNumber, IsString, Max, MaxLength, Min } from 'class-validator';
import type { KeyedDigest } from './content-digest.js';
import { CHANGE_ID, HUB_ID, MAX_CHANGE_IDS } from './change-ids.js';
import { NodeProblem } from './problem.js';
import { IsInstant } from './validation/instant.decorator.js';
import { Amount, EachLike, ListOf, Part, Text, TextLike, WholeNumber } from './validation/member.decorators.js';
import { Nullable, Optional } from './validation/presence.decorators.js';
import { NodeSourceVm } from './vm-list.js';
import {
  HEX_32_BYTES,
  JOB_ID,
  NODE_DISK_STATUSES,
  NODE_JOB_STATUSES,
  NODE_QUIESCE,
  type NodeDiskStatus,
  type NodeJobStatus,
  type NodeQuiesce,
  WITHOUT_NUL,
} from './words.js';

const MAX_DISKS = 256;
const MAX_TARGETS = 512 * 1024;
const MAX_DETAIL = 16_384;
/** Bytes per second. A lower limit would keep a backup from ever finishing. */
const MIN_BANDWIDTH = 65_536;

export class NodeStartVm extends NodeSourceVm {
  /** @example "0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @TextLike(WITHOUT_NUL, 'vm_id must not be empty or contain NUL')
  @MaxLength(100)
  readonly vm_id!: string;

  /** @example "pgtest1" */
  @TextLike(WITHOUT_NUL, 'name must not be empty or contain NUL')
  @MaxLength(1024)
  readonly name!: string;
}

export class NodeStartDisk {
  /** @example "disk0.qcow2" */
  @TextLike(/^[^/\0]+$/, 'disk_key must be a name without slash or NUL')
  @MaxLength(1024)
  readonly disk_key!: string;

  /** Virtual size of the target. If the source has another size, the job fails with disk_resized. @example 2147483648 */
  @WholeNumber(1)
  readonly size_bytes!: number;

  /** null: a full backup. @example "sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @Nullable()
  @TextLike(CHANGE_ID, 'parent_change_id must be a change id of this node, or null for a full backup')
  readonly parent_change_id!: string | null;

  /**
   * The pre-shared key of the target, 64 hexadecimal digits; present exactly if its URI is nbds. A secret, kept out of journals and logs.
   * @example "0000000000000000000000000000000000000000000000000000000000000000"
   */
  @Optional()
  @TextLike(HEX_32_BYTES, 'export_key must be 64 hexadecimal digits')
  readonly export_key?: string;
}

/** POST /api/v1/backup/start. Idempotent by job_id: a repeated call returns the current state of the job. */
export class NodeStartBackup {
  @TextLike(JOB_ID, 'job_id must be 1 to 64 letters, digits or dashes')
  readonly job_id!: string;

  @TextLike(HUB_ID, 'hub_id must be 8 to 64 letters, digits or dashes')
  readonly hub_id!: string;

  @Part(() => NodeStartVm)
  readonly vm!: NodeStartVm;

  /**
   * `<disk_key>:<URI>,...`; disk keys are percent-encoded as by encodeURIComponent, so that they may contain `:` and `,`. The URI is
   * `nbds://<host>:<port>/<export_name>` for a port that uses TLS with the disk's export_key, or `nbd+unix:///<export_name>?socket=<path>` if hub and node
   * share one machine and one account.
   */
  @IsString()
  @MaxLength(MAX_TARGETS)
  readonly nbd_targets_string!: string;

  @ListOf(() => NodeStartDisk, { min: 1, max: MAX_DISKS, uniqueBy: 'disk_key' })
  readonly disks!: readonly NodeStartDisk[];

  /** Whether to freeze the guest's file systems at the instant. Absent: `none`. `try`: continue if freezing fails; `require`: the backup fails instead. */
  @Optional()
  @IsIn(NODE_QUIESCE)
  readonly quiesce?: NodeQuiesce;

  /** Maximum read rate of all disks of the job together, in bytes per second. Absent: no limit. */
  @Optional()
  @WholeNumber(MIN_BANDWIDTH)
  readonly bandwidth_limit_bps?: number;
}

/** Whether the guest's file systems were frozen. */
export class NodeQuiesceOutcome {
  @IsIn(['quiesced', 'not_quiesced'])
  readonly outcome!: 'quiesced' | 'not_quiesced';

  /** For `not_quiesced`: the reason. @example "2 file systems were frozen for 85 ms." */
  @IsString()
  @MaxLength(MAX_DETAIL)
  readonly detail!: string;
}

export class NodeContentDigest implements KeyedDigest {
  /** Secret while the disk is being copied @example "0000000000000000000000000000000000000000000000000000000000000000" */
  @TextLike(HEX_32_BYTES, 'key must be 64 lower-case hexadecimal digits')
  readonly key!: string;

  /** @example "0101010101010101010101010101010101010101010101010101010101010101" */
  @TextLike(HEX_32_BYTES, 'digest must be 64 lower-case hexadecimal digits')
  readonly digest!: string;
}

export class NodeJobDisk {
  /** @example "disk0.qcow2" */
  @Text({ max: 1024 })
  readonly disk_key!: string;

  @IsIn(NODE_DISK_STATUSES)
  readonly status!: NodeDiskStatus;

  /** @example 1048576 */
  @WholeNumber()
  readonly bytes_transferred!: number;

  /** Bytes that this backup copies for the disk: allocated (full) or changed (incremental) @example 4194304 */
  @WholeNumber()
  readonly total_bytes!: number;

  /**
   * The change id that identifies all changes since this backup's instant; null if the source cannot track changes
   * @example "sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c"
   */
  @Nullable()
  @Text({ max: 1024 })
  readonly change_id!: string | null;

  @Nullable()
  @Part(() => NodeProblem)
  readonly error!: NodeProblem | null;

  /**
   * Digest of the data that the copy of a completed disk sent across a network; the hub checks that the file holds exactly that data. Absent from a node next
   * to the hub, and from versions without digests.
   */
  @Optional()
  @Part(() => NodeContentDigest)
  readonly content?: NodeContentDigest;
}

/** GET /api/v1/backup/{job_id}, and the body of POST /telemetry/backup/{job_id} at the hub. Every report is complete, so losing one does no harm. */
export class NodeJobReport {
  /** The same id as in the path @example "0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @Text({ max: 100 })
  readonly job_id!: string;

  @IsIn(NODE_JOB_STATUSES)
  readonly status!: NodeJobStatus;

  /** `snapshot`, `transfer`, `release`, `done` @example "transfer" */
  @Text({ max: 100 })
  readonly current_phase!: string;

  /** The instant of the snapshot, common to all disks; null until it is taken @example "2026-11-21T10:15:00.000Z" */
  @Nullable()
  @IsInstant()
  readonly instant!: string | null;

  /** True once the source's disks are no longer in use. A terminal status is reported only then. */
  @IsBoolean()
  readonly snapshot_released!: boolean;

  /** @example 1048576 */
  @WholeNumber()
  readonly bytes_transferred!: number;

  /** @example 4194304 */
  @WholeNumber()
  readonly total_bytes!: number;

  /** Bytes per second @example 524288 */
  @Amount()
  readonly transfer_speed_bps!: number;

  /** @example 6 */
  @Nullable()
  @Amount()
  readonly eta_seconds!: number | null;

  /** @example 25 */
  @IsNumber()
  @Min(0)
  @Max(100)
  readonly progress_percent!: number;

  @ListOf(() => NodeJobDisk, { min: 1, max: MAX_DISKS })
  readonly disks!: readonly NodeJobDisk[];

  @Nullable()
  @Part(() => NodeProblem)
  readonly error!: NodeProblem | null;

  /** Whether the guest's file systems were frozen at the instant; absent before it, and if quiescing was not requested */
  @Optional()
  @Part(() => NodeQuiesceOutcome)
  readonly quiesce?: NodeQuiesceOutcome;

  /** Increases with every change of the job. An older report never overwrites a newer one. @example 7 */
  @WholeNumber()
  readonly sequence!: number;

  /** @example "2026-11-21T10:15:02.000Z" */
  @IsInstant()
  readonly timestamp!: string;
}

/**
 * POST /api/v1/backup/{job_id}/settle, after the hub has sealed or abandoned the run. Stops the job if it is still running (only with `discarded`), removes
 * every change id of this hub (`sendense-<first 8 of hub_id>-...`) on the VM's disks that is not in keep_change_ids, and forgets the job. Idempotent, also for
 * a job unknown to the node. Answer: NodeSettled.
 */
export class NodeSettleBackup {
  @TextLike(HUB_ID, 'hub_id must be 8 to 64 letters, digits or dashes')
  readonly hub_id!: string;

  @IsIn(['committed', 'discarded'])
  readonly outcome!: 'committed' | 'discarded';

  @Part(() => NodeSourceVm)
  readonly vm!: NodeSourceVm;

  /** @example ["sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c"] */
  @EachLike(CHANGE_ID, 'each of keep_change_ids must be a change id of this node', { max: MAX_CHANGE_IDS })
  readonly keep_change_ids!: readonly string[];
}

/** Answer of every settle route. */
export class NodeSettled {
  @IsIn([true])
  readonly settled!: true;
}
