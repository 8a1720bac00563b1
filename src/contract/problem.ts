import { IsString, MaxLength } from 'class-validator';
import { Text } from './validation/member.decorators.js';

const MAX_DETAIL = 16_384;

/** Why something is not possible or has failed. The code is stable. */
export class NodeProblem {
  /** @example "disk_in_use" */
  @Text({ max: 100 })
  readonly code!: string;

  /** @example "disk0.qcow2 is held open for writing by process 4711." */
  @IsString()
  @MaxLength(MAX_DETAIL)
  readonly detail!: string;
}
