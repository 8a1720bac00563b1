import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';
import { AwaitedCopiesReader } from '../model/awaited-copies.reader.js';
import { PolicyReader } from '../model/policy.reader.js';

const LATE_AFTER_MS = 24 * 3_600_000;

/** Reports restore points that have waited for their copy for more than a day. The hub stays ready. */
@Injectable()
export class LateCopiesHealth implements OnModuleInit {
  constructor(
    private readonly checks: HealthChecks,
    private readonly policies: PolicyReader,
    private readonly copies: AwaitedCopiesReader,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.checks.register({ name: 'policy_copies', required: false, check: () => this.check() });
  }

  private async check(): Promise<void> {
    const now = this.clock.now().getTime();
    const rules = (await this.policies.all()).flatMap(({ policy_id, enabled, settings }) =>
      enabled ? (settings.copies ?? []).map((rule) => this.copies.late(policy_id, rule, now, LATE_AFTER_MS)) : [],
    );
    const late = (await Promise.all(rules)).reduce((sum, count) => sum + count, 0);
    if (late === 0) return;
    throw new DomainError('unavailable', 'copies_late', `${late} restore points have waited for their copy for more than a day; see GET /copies.`);
  }
}
