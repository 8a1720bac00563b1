import { IsString, Matches, MaxLength } from 'class-validator';
import { LocationDto } from '../model/location.dto.js';

export class CreateRepositoryDto extends LocationDto {
  /** Unique display name @example "main" */
  @IsString()
  @MaxLength(128)
  @Matches(/^(?!\s)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+(?<!\s)$/u, { message: 'name must have no control characters and neither begin nor end with a space' })
  readonly name!: string;
}
