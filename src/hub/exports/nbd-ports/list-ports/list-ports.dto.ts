import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const STATES = ['free', 'allocated', 'occupied'];

export class ListPortsQuery extends PageQuery {
  @ApiPropertyOptional({ enum: STATES, description: 'Only ports in this state', example: 'allocated' })
  @Optional()
  @IsIn(STATES)
  state?: string;
}

export class NbdPortResponse {
  @ApiProperty({ example: 10100 }) readonly port!: number;
  @ApiProperty({ enum: STATES, description: '`occupied`: in use by another program when last probed', example: 'allocated' }) readonly state!: string;
  @ApiProperty({ type: String, nullable: true, description: 'The job that holds it', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  readonly job_id!: string | null;
  @ApiProperty({ type: String, nullable: true, example: 'backup-pgtest1-disk0-full-20261121T103000Z' }) readonly export_name!: string | null;
  @ApiProperty({ type: String, nullable: true, description: 'When it entered this state; null for a port never used', example: '2026-11-21T10:30:00.000Z' })
  readonly since!: string | null;
}

export class NbdPortMetricsResponse {
  @ApiProperty({ description: 'Ports of the pool', example: 101 }) readonly total!: number;
  @ApiProperty({ example: 97 }) readonly free!: number;
  @ApiProperty({ example: 4 }) readonly allocated!: number;
  @ApiProperty({ description: 'In use by other programs', example: 0 }) readonly occupied!: number;
  @ApiProperty({ description: 'Jobs that hold ports', example: 2 }) readonly jobs!: number;
  @ApiProperty({ description: 'Share of the pool that is not free, in percent', example: 4 }) readonly utilization_percent!: number;
  @ApiProperty({ example: 10100 }) readonly first_port!: number;
  @ApiProperty({ example: 10200 }) readonly last_port!: number;
}
