import { IsString, Length } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { PageQuery } from '../../../operations/http/cursor-page.js';

export class ListPoliciesQuery extends PageQuery {
  /** Only the policy with this name @example "nightly" */
  @Optional()
  @IsString()
  @Length(1, 128)
  name?: string;
}
