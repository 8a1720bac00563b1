import { ApiProperty } from '@nestjs/swagger';

export class LivenessDto {
  @ApiProperty({ enum: ['live'], example: 'live' })
  status!: 'live';
}

export class HealthCheckDto {
  @ApiProperty({ example: 'database' })
  name!: string;

  @ApiProperty({ description: 'False: informational only; the service is ready without it', example: true })
  required!: boolean;

  @ApiProperty({ enum: ['up', 'down'], example: 'up' })
  status!: 'up' | 'down';

  @ApiProperty({ type: String, nullable: true, description: 'Why the check failed', example: null })
  code!: string | null;

  @ApiProperty({ type: String, nullable: true, example: null })
  detail!: string | null;
}

export class ReadinessDto {
  @ApiProperty({ enum: ['ready'], example: 'ready' })
  status!: 'ready';

  @ApiProperty({ type: () => [HealthCheckDto] })
  checks!: readonly HealthCheckDto[];
}
