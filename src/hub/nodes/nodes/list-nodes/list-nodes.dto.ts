import { IsIn } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { NODE_STATES } from '../model/node.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class ListNodesQuery extends PageQuery {
  /** Only nodes in this state */
  @Optional()
  @IsIn(NODE_STATES)
  state?: (typeof NODE_STATES)[number];
}
