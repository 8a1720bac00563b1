export class ReleasedPortDto {
  /** @example [10100] */ readonly released!: readonly number[];
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
