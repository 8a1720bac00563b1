import { DomainError } from '../../../../kernel/domain-error.js';
import { durationMs } from '../model/retention-periods.plan.js';

const LONGEST_MS = 1_096 * 86_400_000;

/**
 * The end of the time ahead that is simulated. @param since from when the past is simulated; null: it is not
 * @throws DomainError simulated_time_invalid
 */
export function simulatedTime(horizon: string, since: string | null, now: string): { readonly until: string } {
  const ms = durationMs(horizon);
  if (ms > LONGEST_MS) throw invalid('horizon', 'at_most_three_years', `horizon must be at most 1096d, which is three years; it is ${horizon}.`);
  if (since !== null && since >= now) throw invalid('since', 'in_the_past', `since must be in the past; it is ${since}.`);
  return { until: new Date(Date.parse(now) + ms).toISOString() };
}

function invalid(field: string, rule: string, message: string): DomainError {
  return new DomainError('invalid', 'simulated_time_invalid', message, { field, rule });
}
