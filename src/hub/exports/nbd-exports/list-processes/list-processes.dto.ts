import { ApiProperty } from '@nestjs/swagger';

const TRANSPORTS = ['unix', 'tls'] as const;
export type NbdProcessTransport = (typeof TRANSPORTS)[number];

const STATES = ['starting', 'running', 'ended'] as const;
export type NbdProcessState = (typeof STATES)[number];

export class NbdProcessDto {
  @ApiProperty({ format: 'uuid', example: '0193a5c2-7d1e-7000-8000-000000000003' })
  readonly export_id!: string;
  @ApiProperty({ description: 'The job it serves, usually a backup', example: '0193a5c2-7d1e-7000-8000-000000000004' })
  readonly job_id!: string;
  @ApiProperty({ type: 'integer', nullable: true, description: 'null while the server starts', example: 4711 })
  readonly pid!: number | null;
  @ApiProperty({ description: 'The pool port it holds', example: 10100 })
  readonly port!: number;
  @ApiProperty({
    enum: TRANSPORTS,
    nullable: true,
    description:
      '`unix`: it listens on a socket in a private directory, not on its port; `tls`: it listens on its port and accepts clients that have its key; null: it listens on its port and accepts any client (started by an older hub)',
    example: 'tls',
  })
  readonly transport!: NbdProcessTransport | null;
  @ApiProperty({ description: 'Where it listens: `<host>:<port>`, or the path of the socket', example: '127.0.0.1:10100' })
  readonly listens_on!: string;
  @ApiProperty({ example: 'backup-pgtest1-disk0-full-20261121T101500Z' })
  readonly export_name!: string;
  @ApiProperty({ description: 'The file it serves', example: '/srv/backups/pgtest1/0193a5c2/disk-0.qcow2' })
  readonly file!: string;
  @ApiProperty({ example: false })
  readonly read_only!: boolean;
  @ApiProperty({ description: 'Seconds since the server was ready for clients', example: 12.4 })
  readonly uptime_seconds!: number;
  @ApiProperty({ description: 'Established connections, including clients that have not presented a key yet', example: 4 })
  readonly connections!: number;
  @ApiProperty({ description: 'Maximum number of concurrent clients; 0: unlimited', example: 10 })
  readonly shared_limit!: number;
  @ApiProperty({ enum: STATES, description: '`ended`: the process is gone, but its end is not recorded yet', example: 'running' })
  readonly state!: NbdProcessState;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, example: '2026-11-21T10:15:00.000Z' })
  readonly started_at!: string | null;
}

export class NbdProcessListDto {
  @ApiProperty({ type: [NbdProcessDto] })
  readonly processes!: readonly NbdProcessDto[];
  @ApiProperty({ example: 1 })
  readonly total_count!: number;
}
