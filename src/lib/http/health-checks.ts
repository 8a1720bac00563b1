import { Injectable, Logger } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';

export interface HealthCheck {
  /** snake_case, such as `event_store`. */
  readonly name: string;
  /** Whether the program is not ready while this is down; otherwise it only informs. */
  readonly required: boolean;
  /** Throws when down. The code and message of a DomainError reach the public answer; of any other error only the log learns. */
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

/** What the readiness of the program hangs on; contexts register theirs at start. */
@Injectable()
export class HealthChecks {
  private readonly logger = new Logger('Health');
  private readonly checks = new Map<string, HealthCheck>();
  private readonly lastStatus = new Map<string, 'up' | 'down'>();
  private underWay: Promise<readonly CheckResult[]> | null = null;

  /** @throws Error when the name is taken */
  register(check: HealthCheck): void {
    if (this.checks.has(check.name)) throw new Error(`there is a health check ${check.name} already`);
    this.checks.set(check.name, check);
  }

  /** Runs all checks side by side. The route is open to anyone, so callers at the same time share one run. */
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

  /** Logs changes only: probes come every few seconds. */
  private remember(check: HealthCheck, status: 'up' | 'down', error: unknown): void {
    const before = this.lastStatus.get(check.name);
    this.lastStatus.set(check.name, status);
    if (before === status || (before === undefined && status === 'up')) return;
    if (status === 'up') this.logger.log(`${check.name} is up again`);
    else this.logger.warn(`${check.name} is down: ${messageOf(error)}`);
  }
}
