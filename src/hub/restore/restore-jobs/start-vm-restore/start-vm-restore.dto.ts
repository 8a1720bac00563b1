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

  @ApiPropertyOptional({ description: 'The node that gets the VM; absent: the one it was backed up from', example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99' })
  @Optional()
  @IsString()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { message: 'node_id must be the id of a node' })
  node_id?: string;

  @ApiProperty({ description: 'Name of the new domain; there must be none of it yet', example: 'pgtest1-restored' })
  @IsString()
  @Matches(/^[^/\s\p{Cc}-][^/\p{Cc}]{0,199}$/u, {
    message: 'name must have 1 to 200 characters, none of them a slash or control character, and begin with neither a space nor a dash',
  })
  name!: string;

  @ApiPropertyOptional({
    description: 'Absolute path of an existing folder of the node, below one of its `vm_storage_roots`. Either this or `instant`',
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
    description: 'Nothing is copied: the VM uses NBD exports of the hub, and what it writes is thrown away with it by DELETE /restore/vms/{job_id}',
    example: false,
  })
  @Optional()
  @IsBoolean()
  instant = false;

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'Whether uuid and MAC addresses stay those of the VM that was backed up', example: false })
  @Optional()
  @IsBoolean()
  keep_identity = false;

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'Whether the VM is started at the end', example: false })
  @Optional()
  @IsBoolean()
  start = false;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description:
      'That what of the definition cannot stay as it was has been seen (POST /restore/vms/preview shows it). A start wants it at another node than the one the VM came from, and of an imported restore point',
    example: false,
  })
  @Optional()
  @IsBoolean()
  accept_changes = false;

  @ApiPropertyOptional({
    enum: NODE_VM_NETWORKS,
    default: 'keep',
    description: 'The network interfaces: as they were, there with their links down, or gone',
    example: 'keep',
  })
  @Optional()
  @IsIn(NODE_VM_NETWORKS)
  network: NodeVmNetwork = 'keep';

  @ApiPropertyOptional({ description: 'A libvirt network that every interface is attached to instead of what it was attached to', example: 'isolated' })
  @Optional()
  @IsString()
  @Matches(/^[^/\p{Cc}]{1,200}$/u, { message: 'libvirt_network must be the name of a libvirt network' })
  libvirt_network?: string;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description:
      'Make the VM of a restore point that is known to be damaged, as far as it can be read; `damaged_sources` of the job then says what is not what was sealed. An instant VM is not checked',
    example: false,
  })
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}

/** What would become of the definition of a VM. */
export class VmRestorePreviewResponse {
  @ApiProperty({ description: 'The node that would get the VM', example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99' }) readonly node_id!: string;
  @ApiProperty({ description: 'The node that the VM was backed up from, as the restore point says', example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99' })
  readonly origin_node_id!: string;
  @ApiProperty({ description: 'Whether the restore point was imported with its repository', example: false }) readonly imported!: boolean;
  @ApiProperty({ description: 'Whether a start there wants `accept_changes`', example: true }) readonly acceptance_needed!: boolean;
  @ApiProperty({ type: [DefinitionChangeResponse], description: 'What of the definition cannot stay as it was' })
  readonly changes!: readonly DefinitionChangeResponse[];
  @ApiProperty({
    description: 'The definition as the node would get it; uuid, MAC addresses and the place of disks over NBD are examples',
    example: '<domain type="kvm">...</domain>',
  })
  readonly definition!: string;
}
