import { IsInt, Max, Min } from 'class-validator';

export class CapacityThresholdsDto {
  /** Percent of the file system in use from which the level is `warning` @example 80 */
  @IsInt()
  @Min(1)
  @Max(99)
  readonly warning_percent!: number;

  /** The same for `critical`; greater than `warning_percent` @example 90 */
  @IsInt()
  @Min(2)
  @Max(100)
  readonly critical_percent!: number;
}
