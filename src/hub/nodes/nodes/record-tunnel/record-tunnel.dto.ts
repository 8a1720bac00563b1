import { Type } from 'class-transformer';
import { ArrayMaxSize, IsArray, IsDefined, IsIn, IsInt, IsNotEmpty, IsObject, IsString, Max, MaxLength, Min, ValidateNested } from 'class-validator';
import { TUNNEL_STATES, type TunnelStateName } from '../model/node.events.js';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Nullable } from '../../../../contract/validation/presence.decorators.js';

const MAX_CHANGES = 500;
const MAX_DETAIL = 4_096;
const MAX_CONNECTIONS = 64;

export class TunnelCauseDto {
  /** @example "connection_refused" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(100)
  readonly code!: string;

  /** @example "Nothing listens at backup.example.org:9022." */
  @IsString()
  @MaxLength(MAX_DETAIL)
  readonly detail!: string;
}

export class TunnelConnectionsDto {
  /** @example 2 */
  @IsInt()
  @Min(0)
  @Max(MAX_CONNECTIONS)
  readonly wanted!: number;

  /** @example 0 */
  @IsInt()
  @Min(0)
  @Max(MAX_CONNECTIONS)
  readonly up!: number;
}

export class TunnelChangeDto {
  /** Number in the journal @example 7 */
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly number!: number;

  /** By the node's clock @example "2026-11-21T10:30:00.000Z" */
  @IsInstant()
  readonly at!: string;

  @IsIn(TUNNEL_STATES)
  readonly state!: TunnelStateName;

  @Nullable()
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => TunnelCauseDto)
  readonly cause!: TunnelCauseDto | null;

  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => TunnelConnectionsDto)
  readonly connections!: TunnelConnectionsDto;
}

/** Tunnel changes that the hub may not know yet. */
export class TunnelReportDto {
  /** Changes when the node had to start a new journal @example "0199a3c0-0001-4000-8000-0000000000aa" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(64)
  readonly journal_id!: string;

  @IsArray()
  @ArrayMaxSize(MAX_CHANGES)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => TunnelChangeDto)
  readonly transitions!: readonly TunnelChangeDto[];
}
