import { ArrayMaxSize, ArrayUnique, IsArray, IsString, Matches, MaxLength } from 'class-validator';

export class SetLabelsDto {
  /** Each a word or `key=value` @example ["env=prod", "database"] */
  @IsArray()
  @ArrayMaxSize(32)
  @ArrayUnique()
  @IsString({ each: true })
  @MaxLength(128, { each: true })
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._/-]*(=[A-Za-z0-9._/-]+)?$/, {
    each: true,
    message: 'labels must be words or key=value, of letters, digits, dots, dashes, slashes and underscores',
  })
  readonly labels!: readonly string[];
}
