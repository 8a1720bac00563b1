import { IsString, Matches, MaxLength } from 'class-validator';
import { POSITION_PATTERN } from '../../../kernel/position.js';

export class SkipEventRequest {
  /** The `halted.position` of GET /projections @example "0000000000000000042" */
  @IsString()
  @Matches(new RegExp(POSITION_PATTERN), { message: 'position must be a position, as returned by GET /projections' })
  readonly position!: string;

  /** Why the event is skipped, for later readers of the audit log @example "The backup was deleted since." */
  @IsString()
  @MaxLength(500)
  @Matches(/^(?!\s*$)[^\p{Cc}]*$/u, { message: 'reason must not be blank or contain control characters' })
  readonly reason!: string;
}
