import { IsIn } from 'class-validator';
import { IsInstant } from './validation/instant.decorator.js';
import { Text, TextLike, WholeNumber } from './validation/member.decorators.js';
import { Optional } from './validation/presence.decorators.js';
import { NODE_ID } from './words.js';

/** GET /api/v1/health */
export class NodeHealth {
  @IsIn(['ok'])
  readonly status!: 'ok';

  @TextLike(NODE_ID, 'node_id must be a node id of 1 to 64 letters, digits, dots, dashes or underscores')
  readonly node_id!: string;

  @Text()
  readonly version!: string;

  /** By the node's clock. */
  @IsInstant()
  readonly time!: string;

  @WholeNumber()
  readonly active_jobs!: number;

  /** Opaque, or `none`. A new value means that `GET /change-ids` has news in `swept` or `vm_problems`. Absent from older nodes. */
  @Optional()
  @Text()
  readonly findings?: string;
}
