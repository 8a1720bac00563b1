import { ArrayMaxSize, IsArray, IsBoolean, IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { Optional, OptionalOrNull } from '../../../../contract/validation/presence.decorators.js';
import { MAX_OPTIONS } from '../../../../storage/share-mounts/share-mount.plan.js';
import type { RepositoryType } from './repository.events.js';

const TYPES = ['local', 'nfs', 'cifs'] as const satisfies readonly RepositoryType[];

/** Where a repository is. Each type has members of its own, and takes no others. */
export class LocationDto {
  @IsIn(TYPES)
  readonly type!: RepositoryType;

  /** `local`: absolute path of an existing folder that the hub can write to @example "/srv/backups" */
  @Optional()
  @IsString()
  @MaxLength(4096)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'path must be an absolute path without control characters' })
  readonly path?: string;

  /** `local`: whether the path must be a mount point whenever the repository is used, so that nothing is written below an unmounted disk @example false */
  @Optional()
  @IsBoolean()
  readonly require_mount?: boolean;

  /** `nfs` and `cifs`: name or address of the server @example "nas.example.org" */
  @Optional()
  @IsString()
  @MaxLength(253)
  readonly server?: string;

  /** `nfs`: path at the server @example "/export/backups" */
  @Optional()
  @IsString()
  @MaxLength(1024)
  readonly export?: string;

  /** `cifs`: name of the share, optionally followed by a folder in it @example "backups" */
  @Optional()
  @IsString()
  @MaxLength(1024)
  readonly share?: string;

  /** `nfs` and `cifs`: mount options; docs/repositories.md lists those that are allowed @example ["hard"] */
  @Optional()
  @IsArray()
  @ArrayMaxSize(MAX_OPTIONS)
  @IsString({ each: true })
  @MaxLength(64, { each: true })
  readonly options?: string[];

  /** `cifs`: name of the file with the account, in the credentials folder of the mount helper; null: a guest @example "nas" */
  @OptionalOrNull()
  @IsString()
  @MaxLength(64)
  readonly credentials?: string | null;
}
