import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsString, MaxLength, MinLength, ValidateIf } from 'class-validator';
import type { NodeVmDefinition } from '../../platform/node-api/node-api.js';

/** Safe as the name of a directory. */
export const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Name of a disk's target device in a domain. */
export const TARGET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Begins so that it cannot be taken for an option or another protocol in an argv. */
export const NBD_URI = /^nbd:\/\/[^/\s]+:\d{1,5}\/[^\s]{0,1000}$/;
const MAX_DEFINITION = 512 * 1024;

/** `null` is a value of its own here; a member that is left out is refused. */
export function orNull(member: string): PropertyDecorator {
  return ValidateIf((holder: object) => Reflect.get(holder, member) !== null);
}

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
