import { IsString, Length } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class ListRepositoriesQuery extends PageQuery {
  /** Only the repository with this name @example "main" */
  @Optional()
  @IsString()
  @Length(1, 255)
  name?: string;
}
