import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { CapacityMeasurementReadModel } from '../../../../../projections/capacity-measurements/capacity-measurements.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { RepositoryCapacityReadModel } from '../../../../../projections/repository-capacity/repository-capacity.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { FORECAST_DAYS, forecastOf } from '../model/capacity-forecast.plan.js';
import { toCapacityResponse } from '../model/capacity.response.js';
import { DEFAULT_THRESHOLDS } from '../model/capacity.events.js';
import { CapacityQuery, type MeasurementResponse, RepositoryCapacityDto } from './get-capacity.dto.js';

const MOST_SHOWN = 1000;
/** Of the forecast, newest first. */
const MOST_READ = 10_000;
const DAY_MS = 86_400_000;

@ApiTags('repositories')
@Controller('repositories')
export class GetCapacityController {
  constructor(private readonly dataSource: DataSource) {}

  @Get(':id/capacity')
  @ApiOperation({
    summary: 'Space of a repository: now, in the past, and when it will be full',
    description:
      'A measurement is recorded when the free space has changed by 1 % of the total, when the level or the size changes, and once a day. GET /repositories/{id}/storage measures now.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' })
  @ApiOkResponse({ type: RepositoryCapacityDto })
  @ApiProblem(400, 'validation_failed')
  @ApiProblem(404, 'repository_not_found')
  async get(@Param('id', UuidParam) repository_id: string, @Query() { since, until }: CapacityQuery): Promise<RepositoryCapacityDto> {
    if (!(await this.dataSource.getRepository(RepositoryReadModel).existsBy({ repository_id }))) {
      throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
    }
    const row = await this.dataSource.getRepository(RepositoryCapacityReadModel).findOneBy({ repository_id });
    const newest = row?.measured_at ?? new Date(0);
    const month = new Date(newest.getTime() - FORECAST_DAYS * DAY_MS);
    const shown = await this.between(
      repository_id,
      since === undefined ? month : new Date(since),
      until === undefined ? null : new Date(until),
      MOST_SHOWN + 1,
    );
    return {
      repository_id,
      capacity: toCapacityResponse(row),
      level_since: row?.level_since?.toISOString() ?? null,
      thresholds: {
        warning_percent: row?.warning_percent ?? DEFAULT_THRESHOLDS.warning_percent,
        critical_percent: row?.critical_percent ?? DEFAULT_THRESHOLDS.critical_percent,
      },
      forecast: forecastOf(await this.between(repository_id, month, null, MOST_READ)),
      measurements: shown.slice(0, MOST_SHOWN),
      truncated: shown.length > MOST_SHOWN,
    };
  }

  /** Newest first. */
  private async between(repository_id: string, since: Date, until: Date | null, most: number): Promise<readonly MeasurementResponse[]> {
    const query = this.dataSource
      .getRepository(CapacityMeasurementReadModel)
      .createQueryBuilder('row')
      .where('row.repository_id = :repository_id and row.measured_at >= :since', { repository_id, since })
      .orderBy('row.measured_at', 'DESC')
      .addOrderBy('row.measured_position', 'DESC')
      .take(most);
    if (until !== null) query.andWhere('row.measured_at < :until', { until });
    return (await query.getMany()).map(({ total_bytes, free_bytes, measured_at }) => ({
      total_bytes: Number(total_bytes),
      free_bytes: Number(free_bytes),
      measured_at: measured_at.toISOString(),
    }));
  }
}
