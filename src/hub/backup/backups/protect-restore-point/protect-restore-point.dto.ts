import { IsString, Matches, MaxLength } from 'class-validator';

export class ProtectionDto {
  /** Why, for people who look at the restore point later @example "Before the migration to version 12." */
  @IsString()
  @MaxLength(500)
  @Matches(/^(?! )[^\p{Cc}\p{Zl}\p{Zp}]*[^\p{Cc}\p{Zl}\p{Zp} ]$/u, { message: 'reason must be a text without control characters and outer spaces' })
  readonly reason!: string;
}
