import { ApiProperty } from '@nestjs/swagger';

export class ReleasedPortDto {
  @ApiProperty({ type: [Number], example: [10100] })
  readonly released!: readonly number[];
  @ApiProperty({ type: 'string', nullable: true, description: 'For ?after=', example: '0000000000000000042' })
  readonly position!: string | null;
}
