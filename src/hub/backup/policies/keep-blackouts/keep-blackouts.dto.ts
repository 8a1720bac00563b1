import { IsIn, IsInt, IsString, Length, Matches, Max, MaxLength, Min } from 'class-validator';
import { ListOf } from '../../../../contract/validation/member.decorators.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import type { BlackoutSettings } from '../model/blackout.events.js';
import { StartWindowDto } from '../model/policy.dto.js';

const WALL_TIME = /^\d{4}-\d\d-\d\d(T([01]\d|2[0-3]):[0-5]\d)?$/;
/** Without control characters, and without spaces at either end. */
const PLAIN_TEXT = /^(?! )[^\p{Cc}\p{Zl}\p{Zp}]*[^\p{Cc}\p{Zl}\p{Zp} ]$/u;

export class BlackoutDatesDto {
  /** A day, or a time of a day, by the clock of the blackout's time zone @example "2026-12-24T16:00" */
  @Matches(WALL_TIME, { message: 'from must be a date such as 2026-12-24 or 2026-12-24T16:00' })
  readonly from!: string;

  /** The end, which does not belong to it @example "2026-12-27" */
  @Matches(WALL_TIME, { message: 'until must be a date such as 2026-12-27 or 2026-12-27T06:00' })
  readonly until!: string;
}

export class CreateBlackoutDto {
  /** Unique @example "Christmas" */
  @IsString()
  @MaxLength(128)
  @Matches(PLAIN_TEXT, { message: 'name must be a text without control characters and outer spaces' })
  readonly name!: string;

  /** @example "Europe/Berlin" */
  @IsString()
  @MaxLength(64)
  readonly time_zone!: string;

  /** Whether a run that is due within it starts at its end, or not at all */
  @IsIn(['defer', 'skip'])
  readonly effect!: BlackoutSettings['effect'];

  /** Times without starts */
  @Optional()
  @ListOf(() => BlackoutDatesDto, { max: 200 })
  readonly dates: readonly BlackoutDatesDto[] = [];

  /** Times of the day without starts that come every week */
  @Optional()
  @ListOf(() => StartWindowDto, { max: 50 })
  readonly weekly: readonly StartWindowDto[] = [];
}

export class EditBlackoutDto extends CreateBlackoutDto {
  /** The version that the edit is based on @example 1 */
  @IsInt()
  @Min(1)
  @Max(2_147_483_646)
  readonly version!: number;
}

export class ListBlackoutsQuery extends PageQuery {
  /** Only the blackout with this name @example "Christmas" */
  @Optional()
  @IsString()
  @Length(1, 128)
  name?: string;
}

export function blackoutOf({ name, time_zone, effect, dates, weekly }: CreateBlackoutDto): BlackoutSettings {
  const midnight = (wall: string): string => (wall.includes('T') ? wall : `${wall}T00:00`);
  return {
    name,
    time_zone,
    effect,
    dates: dates.map(({ from, until }) => ({ from: midnight(from), until: midnight(until) })),
    weekly: weekly.map(({ from, until, days }) => ({ from, until, days })),
  };
}
