import { IsBoolean, IsInt, Max, Min } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class RequestCopyDto {
  /** The repository that receives the copy @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */
  @IsUuid()
  readonly repository_id!: string;

  /** Whether restore points that it depends on are copied first, if they have no copy there; otherwise the copy is flattened into a full */
  @Optional()
  @IsBoolean()
  with_parents = false;

  /** Bytes per second at most; absent: not limited @example 20000000 */
  @Optional()
  @IsInt()
  @Min(65_536)
  @Max(1_000_000_000_000)
  bandwidth_limit_bps?: number;
}
