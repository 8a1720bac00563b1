import { ApiProperty } from '@nestjs/swagger';

export class ReleasedJobPortsDto {
  @ApiProperty({ type: [Number], description: 'Empty when the job held none', example: [10100, 10101] })
  readonly released!: readonly number[];
  @ApiProperty({ type: 'string', nullable: true, description: 'For ?after=', example: '0000000000000000042' })
  readonly position!: string | null;
}
