import { Injectable, Logger } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';

export interface HealthCheck {
  /** snake_case, such as `event_store`. */
  readonly name: string;
  /** Whether the program is not ready while this check is down; otherwise the check is informational. */
  readonly required: boolean;
  /** Throws when down. The public answer shows the code and message of a DomainError; any other error is only logged. */
  readonly check: () => Promise<void>;
}

export interface CheckResult {
  readonly name: string;
  readonly required: boolean;
  readonly status: 'up' | 'down';
  /** Why it is down; null while up. */
  readonly code: string | null;
  readonly detail: string | null;
}

/** How long one check may take, in milliseconds. */
const CHECK_TIMEOUT_MS = 2_000;

/** The checks that determine readiness; contexts register theirs at startup. */
@Injectable()
export class HealthChecks {
  private readonly logger = new Logger('Health');
  private readonly checks = new Map<string, HealthCheck>();
  private readonly lastStatus = new Map<string, 'up' | 'down'>();
  private underWay: Promise<readonly CheckResult[]> | null = null;

  /** @throws Error when the name is taken */
  register(check: HealthCheck): void {
    if (this.checks.has(check.name)) throw new Error(`the health check ${check.name} is already registered`);
    this.checks.set(check.name, check);
  }

  /** Runs all checks concurrently. The route is public, so simultaneous callers share one run. */
  async run(): Promise<readonly CheckResult[]> {
    this.underWay ??= Promise.all([...this.checks.values()].map((check) => this.runOne(check))).finally(() => {
      this.underWay = null;
    });
    return this.underWay;
  }

  private async runOne(check: HealthCheck): Promise<CheckResult> {
    const { promise: timeout, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new DomainError('unavailable', 'check_timed_out', `${check.name} did not answer within ${CHECK_TIMEOUT_MS} ms`));
    }, CHECK_TIMEOUT_MS);
    try {
      await Promise.race([check.check(), timeout]);
      this.remember(check, 'up', null);
      return { name: check.name, required: check.required, status: 'up', code: null, detail: null };
    } catch (error) {
      this.remember(check, 'down', error);
      const told = error instanceof DomainError;
      return {
        name: check.name,
        required: check.required,
        status: 'down',
        code: told ? error.code : 'check_failed',
        detail: told ? error.message : 'see the log of the service',
      };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Logs only changes, because probes come every few seconds. */
  private remember(check: HealthCheck, status: 'up' | 'down', error: unknown): void {
    const before = this.lastStatus.get(check.name);
    this.lastStatus.set(check.name, status);
    if (before === status || (before === undefined && status === 'up')) return;
    if (status === 'up') this.logger.log(`${check.name} is up again`);
    else this.logger.warn(`${check.name} is down: ${messageOf(error)}`);
  }
}
