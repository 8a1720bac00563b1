import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsInt, IsString, Matches, Max, MaxLength, Min, MinLength } from 'class-validator';
import { Optional } from '../../contract/validation/presence.decorators.js';
import { EXPORT_KEY } from '../../lib/nbd/nbd-uri.js';
import type { NodeVmDefinition } from '../../contract/node-api.js';

/** Safe as a directory name. */
export const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Name of a disk's target device in a domain. */
const TARGET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Its beginning cannot be mistaken for an option or another protocol in an argv. */
const NBD_URI = /^nbds?:\/\/[^/\s]+:\d{1,5}\/[^\s]{0,1000}$/;
const MAX_DEFINITION = 512 * 1024;

export class DefinitionDto implements NodeVmDefinition {
  @ApiProperty({ enum: ['libvirt-domain-xml'], example: 'libvirt-domain-xml' })
  @IsIn(['libvirt-domain-xml'])
  readonly format!: 'libvirt-domain-xml';

  @ApiProperty({ example: '<domain type="kvm"><name>pgtest1</name></domain>' })
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_DEFINITION)
  readonly text!: string;
}

/** A disk of a restore point, served by the hub. */
export class ServedDiskDto {
  @ApiProperty({ example: 'vda' })
  @IsString()
  @Matches(TARGET, { message: 'disk_key must be the name of a target device' })
  readonly disk_key!: string;

  @ApiProperty({ type: 'integer', minimum: 1, example: 2_147_483_648 })
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly size_bytes!: number;

  @ApiProperty({ example: 'nbds://192.0.2.10:10100/restore-pgtest1-disk0-0e5b7a41' })
  @IsString()
  @Matches(NBD_URI, { message: 'uri must be an nbd:// or nbds:// URI' })
  readonly uri!: string;

  @ApiPropertyOptional({ description: 'Pre-shared key of the export, if its URI is nbds: 64 hexadecimal digits', writeOnly: true })
  @Optional()
  @IsString()
  @Matches(EXPORT_KEY, { message: 'export_key must be 64 hexadecimal digits' })
  readonly export_key?: string;
}
