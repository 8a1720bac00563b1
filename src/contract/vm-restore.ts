import { IsBoolean, IsIn, MaxLength } from 'class-validator';
import { NodeProblem } from './problem.js';
import { Amount, ListOf, Part, Text, TextLike } from './validation/member.decorators.js';
import { Nullable } from './validation/presence.decorators.js';
import { NodeDefinitionChange, NodeRestoredDefinition, NodeServedDisk } from './vm-definition.js';
import {
  JOB_ID,
  NODE_VM_NETWORKS,
  NODE_VM_RESTORE_PHASES,
  NODE_VM_RESTORE_STATUSES,
  type NodeVmNetwork,
  type NodeVmRestorePhase,
  type NodeVmRestoreStatus,
} from './words.js';

const MAX_DISKS = 256;
/** Lower case. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NAME = /^[^/\p{Cc}]{1,200}$/u;

export class NodeRestoredDisk extends NodeServedDisk {
  /** File name in storage_path; null exactly if storage_path is null. @example "pgtest1-restored-disk0.qcow2" */
  @Nullable()
  @TextLike(/^(?!\.{1,2}$)[^/\p{Cc}]{1,255}$/u, 'file_name must be a name without slash or control characters, or null')
  readonly file_name!: string | null;
}

/** POST /api/v1/vm-restores/start. Idempotent by job_id: a repeated call returns the current state of the job. */
export class NodeStartVmRestore {
  @TextLike(JOB_ID, 'job_id must be 1 to 64 letters, digits or dashes')
  readonly job_id!: string;

  @Part(() => NodeRestoredDefinition)
  readonly definition!: NodeRestoredDefinition;

  @TextLike(NAME, 'name must have 1 to 200 characters, none of them a slash or control character')
  readonly name!: string;

  /** null: the one in the definition. */
  @Nullable()
  @TextLike(UUID, 'uuid must be a lower-case uuid, or null')
  readonly uuid!: string | null;

  /** Whether to keep the MAC addresses. */
  @IsBoolean()
  readonly keep_identity!: boolean;

  @IsBoolean()
  readonly start!: boolean;

  @IsIn(NODE_VM_NETWORKS)
  readonly network!: NodeVmNetwork;

  /** Attach every interface to this libvirt network; null: to its original one. */
  @Nullable()
  @TextLike(NAME, 'libvirt_network must be the name of a network, or null')
  readonly libvirt_network!: string | null;

  /** Absolute path of an existing directory on the node to copy the disks to; null: the VM uses the NBD exports for as long as it exists. */
  @Nullable()
  @TextLike(/^\/[^\p{Cc}]*$/u, 'storage_path must be an absolute path, or null')
  @MaxLength(3800)
  readonly storage_path!: string | null;

  @ListOf(() => NodeRestoredDisk, { min: 1, max: MAX_DISKS, uniqueBy: 'disk_key' })
  readonly disks!: readonly NodeRestoredDisk[];
}

export class NodeVmRestoreDisk {
  /** @example "vda" */
  @Text()
  readonly disk_key!: string;

  @IsIn(['pending', 'copying', 'comparing', 'completed'])
  readonly status!: 'pending' | 'copying' | 'comparing' | 'completed';

  /** Progress of the copy, 0 to 100. @example 50 */
  @Amount()
  readonly percent!: number;

  /** Absolute path on the node; null until the file has its final name, and for an NBD disk. @example "/var/lib/libvirt/images/pgtest1-restored-disk0.qcow2" */
  @Nullable()
  @Text()
  readonly file!: string | null;
}

export class NodeDomain {
  /** @example "pgtest1-restored" */
  @Text()
  readonly name!: string;

  /** @example "ad05c83f-50e3-4a52-a4f4-f1a4b76a9e10" */
  @Text()
  readonly uuid!: string;
}

/**
 * GET /api/v1/vm-restores/{job_id}. `completed`: the domain is defined and its disks are verified. `failed` and `cancelled` are reported only once nothing of
 * the job is left but its journal.
 */
export class NodeVmRestoreReport {
  @Text()
  readonly job_id!: string;

  @IsIn(NODE_VM_RESTORE_STATUSES)
  readonly status!: NodeVmRestoreStatus;

  @IsIn(NODE_VM_RESTORE_PHASES)
  readonly phase!: NodeVmRestorePhase;

  @ListOf(() => NodeVmRestoreDisk)
  readonly disks!: readonly NodeVmRestoreDisk[];

  @Nullable()
  @Part(() => NodeDomain)
  readonly domain!: NodeDomain | null;

  @ListOf(() => NodeDefinitionChange)
  readonly changes!: readonly NodeDefinitionChange[];

  /** Why the finished VM could not be started; null: it was started, or no start was requested. */
  @Nullable()
  @Part(() => NodeProblem)
  readonly start_error!: NodeProblem | null;

  @Nullable()
  @Part(() => NodeProblem)
  readonly error!: NodeProblem | null;
}

/**
 * POST /api/v1/vm-restores/{job_id}/settle. `keep`: the VM of a completed job stays, and the node forgets the job. `discard`: the node stops the job, removes
 * its domain and files, even those of a completed job, and forgets it. Idempotent, also for a job unknown to the node. Answer: NodeSettled.
 */
export class NodeSettleVmRestore {
  @IsIn(['keep', 'discard'])
  readonly outcome!: 'keep' | 'discard';
}
