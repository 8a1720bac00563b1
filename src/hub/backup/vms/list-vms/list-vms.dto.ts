import { IsString, Length } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class ListVmsQuery extends PageQuery {
  /** Only VMs with this name @example "pgtest1" */
  @Optional()
  @IsString()
  @Length(1, 255)
  name?: string;

  /** Only VMs on this node @example "0199a3c0-0001-7000-8000-00000000000a" */
  @Optional()
  @IsUuid()
  node_id?: string;
}
