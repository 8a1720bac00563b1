import { IsIn, IsInt, Max, Min } from 'class-validator';
import type { ImmutabilityMode } from '../model/repository.events.js';

const MODES = ['none', 'advisory', 'enforced'] as const satisfies readonly ImmutabilityMode[];

export class ImmutabilityDto {
  /** `advisory`: the hub refuses to remove locked restore points. `enforced`: the keeper makes their files immutable, too @example "enforced" */
  @IsIn(MODES)
  readonly mode!: ImmutabilityMode;

  /** Days for which a restore point is locked from its sealing on; 0 with the mode `none` @example 30 */
  @IsInt()
  @Min(0)
  @Max(36_500)
  readonly days!: number;
}
