export class LivenessDto {
  status!: 'live';
}

export class HealthCheckDto {
  /** @example "database" */ name!: string;

  /** False: informational only; the service is ready without it */ required!: boolean;

  status!: 'up' | 'down';

  /** Why the check failed @example null */ code!: string | null;

  /** @example null */ detail!: string | null;
}

export class ReadinessDto {
  status!: 'ready';

  checks!: readonly HealthCheckDto[];
}
