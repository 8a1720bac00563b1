import { IsBoolean, IsIn, IsNotEmpty, IsString, Matches, MaxLength } from 'class-validator';
import { MEDIA, type Medium } from '../model/place.events.js';

export class RepositoryPlaceDto {
  /** Name of the building, or of whatever may be lost as a whole @example "Berlin" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(64)
  @Matches(/^\S(?:[^\p{Cc}]*\S)?$/u, { message: 'site must be a name without control characters, and without spaces at its ends' })
  readonly site!: string;

  /** Whether the repository survives the loss of the site where the VMs run @example true */
  @IsBoolean()
  readonly off_site!: boolean;

  /** What it is stored on */
  @IsIn(MEDIA)
  readonly medium!: Medium;
}

export class RepositoryPlaceResponse extends RepositoryPlaceDto {
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */ readonly repository_id!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly set_at!: string;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */ readonly position!: string;
}
