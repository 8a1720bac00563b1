import { IsIn } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const STATES = ['free', 'allocated', 'occupied'] as const;

export class ListPortsQuery extends PageQuery {
  /** Only ports in this state */
  @Optional()
  @IsIn(STATES)
  state?: (typeof STATES)[number];
}

export class NbdPortResponse {
  /** @example 10100 */ readonly port!: number;
  /** `occupied`: in use by another program when last probed */ readonly state!: (typeof STATES)[number];
  /** The job that holds it @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly job_id!: string | null;
  /** @example "backup-pgtest1-disk0-full-20261121T103000Z" */ readonly export_name!: string | null;
  /** When it entered this state; null for a port never used @example "2026-11-21T10:30:00.000Z" */
  readonly since!: string | null;
}

export class NbdPortMetricsResponse {
  /** Ports of the pool @example 101 */ readonly total!: number;
  /** @example 97 */ readonly free!: number;
  /** @example 4 */ readonly allocated!: number;
  /** In use by other programs @example 0 */ readonly occupied!: number;
  /** Jobs that hold ports @example 2 */ readonly jobs!: number;
  /** Share of the pool that is not free, in percent @example 4 */ readonly utilization_percent!: number;
  /** @example 10100 */ readonly first_port!: number;
  /** @example 10200 */ readonly last_port!: number;
}
