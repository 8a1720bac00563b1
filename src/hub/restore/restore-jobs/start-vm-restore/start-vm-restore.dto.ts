import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { DefinitionChangeResponse } from '../model/restore-job.response.js';
import { NODE_VM_NETWORKS, type NodeVmNetwork } from '../../../../contract/node-api.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../lib/http/uuid.decorator.js';

export class StartVmRestoreRequest {
  @ApiProperty({ description: 'The restore point: any completed backup of a libvirt VM', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  @IsUuid()
  backup_id!: string;

  @ApiPropertyOptional({
    description: 'The node that gets the VM; absent: the node from which it was backed up',
    example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99',
  })
  @Optional()
  @IsString()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { message: 'node_id must be the id of a node' })
  node_id?: string;

  @ApiProperty({ description: 'Name of the new domain; it must not exist yet', example: 'pgtest1-restored' })
  @IsString()
  @Matches(/^[^/\s\p{Cc}-][^/\p{Cc}]{0,199}$/u, {
    message: 'name must be 1 to 200 characters long, contain no slash or control character, and not begin with a space or a dash',
  })
  name!: string;

  @ApiPropertyOptional({
    description: 'Absolute path of an existing directory on the node, below one of its `vm_storage_roots`. Specify either this or `instant`',
    example: '/var/lib/libvirt/images',
  })
  @Optional()
  @IsString()
  @MaxLength(3800)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'storage_path must be an absolute path without control characters' })
  storage_path?: string;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description: 'Copy nothing: the VM uses NBD exports of the hub. DELETE /restore/vms/{job_id} removes it and discards the data it has written',
    example: false,
  })
  @Optional()
  @IsBoolean()
  instant = false;

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'Whether to keep the uuid and MAC addresses of the original VM', example: false })
  @Optional()
  @IsBoolean()
  keep_identity = false;

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'Whether to start the VM at the end', example: false })
  @Optional()
  @IsBoolean()
  start = false;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description:
      'Confirms that the changes to the definition were reviewed (POST /restore/vms/preview lists them). Required for a start on a node other than the original one, or from an imported restore point',
    example: false,
  })
  @Optional()
  @IsBoolean()
  accept_changes = false;

  @ApiPropertyOptional({
    enum: NODE_VM_NETWORKS,
    default: 'keep',
    description: 'The network interfaces: unchanged, with their links down, or removed',
    example: 'keep',
  })
  @Optional()
  @IsIn(NODE_VM_NETWORKS)
  network: NodeVmNetwork = 'keep';

  @ApiPropertyOptional({ description: 'Attach every interface to this libvirt network instead of its original one', example: 'isolated' })
  @Optional()
  @IsString()
  @Matches(/^[^/\p{Cc}]{1,200}$/u, { message: 'libvirt_network must be the name of a libvirt network' })
  libvirt_network?: string;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description:
      'Restore even if the restore point is known to be damaged, as far as it can be read; `damaged_sources` of the job then lists the files that differ from the sealed ones. An instant VM is not checked',
    example: false,
  })
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}

/** Preview of the changes to a VM's definition. */
export class VmRestorePreviewResponse {
  @ApiProperty({ description: 'The node that would get the VM', example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99' }) readonly node_id!: string;
  @ApiProperty({ description: 'The node from which the VM was backed up, according to the restore point', example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99' })
  readonly origin_node_id!: string;
  @ApiProperty({ description: 'Whether the restore point was imported with its repository', example: false }) readonly imported!: boolean;
  @ApiProperty({ description: 'Whether a start on this node requires `accept_changes`', example: true }) readonly acceptance_needed!: boolean;
  @ApiProperty({ type: [DefinitionChangeResponse], description: 'Changes to the original definition' })
  readonly changes!: readonly DefinitionChangeResponse[];
  @ApiProperty({
    description: 'The definition as the node would get it; uuid, MAC addresses and NBD disk addresses are examples',
    example: '<domain type="kvm">...</domain>',
  })
  readonly definition!: string;
}
