import { IsBoolean, IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { DefinitionChangeResponse } from '../model/restore-job.response.js';
import { NODE_VM_NETWORKS, type NodeVmNetwork } from '../../../../contract/words.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class StartVmRestoreRequest {
  /** The restore point: any completed backup of a libvirt VM @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @IsUuid()
  backup_id!: string;

  /**
   * The repository to read: the one it was backed up to, or one that has a copy; absent: the first, or a copy if that is gone, does not answer or is damaged
   * @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03"
   */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** The node that gets the VM; absent: the node from which it was backed up @example "0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99" */
  @Optional()
  @IsString()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { message: 'node_id must be the id of a node' })
  node_id?: string;

  /** Name of the new domain; it must not exist yet @example "pgtest1-restored" */
  @IsString()
  @Matches(/^[^/\s\p{Cc}-][^/\p{Cc}]{0,199}$/u, {
    message: 'name must be 1 to 200 characters long, contain no slash or control character, and not begin with a space or a dash',
  })
  name!: string;

  /**
   * Absolute path of an existing directory on the node, below one of its `vm_storage_roots`. Specify either this or `instant`
   * @example "/var/lib/libvirt/images"
   */
  @Optional()
  @IsString()
  @MaxLength(3800)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'storage_path must be an absolute path without control characters' })
  storage_path?: string;

  /** Copy nothing: the VM uses NBD exports of the hub. DELETE /restore/vms/{job_id} removes it and discards the data it has written */
  @Optional()
  @IsBoolean()
  instant = false;

  /** Whether to keep the uuid and MAC addresses of the original VM */
  @Optional()
  @IsBoolean()
  keep_identity = false;

  /** Whether to start the VM at the end */
  @Optional()
  @IsBoolean()
  start = false;

  /**
   * Confirms that the changes to the definition were reviewed (POST /restore/vms/preview lists them). Required for a start on a node other than the original
   * one, or from an imported restore point
   */
  @Optional()
  @IsBoolean()
  accept_changes = false;

  /** The network interfaces: unchanged, with their links down, or removed */
  @Optional()
  @IsIn(NODE_VM_NETWORKS)
  network: NodeVmNetwork = 'keep';

  /** Attach every interface to this libvirt network instead of its original one @example "isolated" */
  @Optional()
  @IsString()
  @Matches(/^[^/\p{Cc}]{1,200}$/u, { message: 'libvirt_network must be the name of a libvirt network' })
  libvirt_network?: string;

  /**
   * Restore even if the restore point is known to be damaged, as far as it can be read; `damaged_sources` of the job then lists the files that differ from
   * the sealed ones. An instant VM is not checked
   */
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}

/** Preview of the changes to a VM's definition. */
export class VmRestorePreviewResponse {
  /** The node that would get the VM @example "0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99" */ readonly node_id!: string;
  /** The node from which the VM was backed up, according to the restore point @example "0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99" */
  readonly origin_node_id!: string;
  /** Whether the restore point was imported with its repository */ readonly imported!: boolean;
  /** Whether a start on this node requires `accept_changes` */ readonly acceptance_needed!: boolean;
  /** Changes to the original definition */ readonly changes!: readonly DefinitionChangeResponse[];
  /** The definition as the node would get it; uuid, MAC addresses and NBD disk addresses are examples @example "<domain type=\"kvm\">...</domain>" */
  readonly definition!: string;
}
