export class ReleasedJobPortsDto {
  /** Empty when the job held none @example [10100,10101] */ readonly released!: readonly number[];
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
