import { describe, expect, it } from '@jest/globals';
import { retryAt } from './retry.plan.js';

const always = { time_zone: 'UTC', start_window: null, blackouts: [] };
const failed = { trigger: 'schedule', attempt: 1, code: 'node_unreachable', at: '2027-01-05T22:00:00.000Z' } as const;

describe('a VM whose backup failed', () => {
  it('is tried again three times, ten minutes after each failure', () => {
    for (const attempt of [1, 2, 3]) expect(retryAt({ ...failed, attempt }, always)).toBe('2027-01-05T22:10:00.000Z');
    expect(retryAt({ ...failed, attempt: 4 }, always)).toBeNull();
  });

  it('is not tried again when the failure will not pass by itself', () => {
    for (const code of ['disk_corrupt', 'repository_full', 'quiesce_failed', 'cancelled_at_node']) expect(retryAt({ ...failed, code }, always)).toBeNull();
  });

  it('is not tried again after a manual run, or outside the window', () => {
    expect(retryAt({ ...failed, trigger: 'manual' }, always)).toBeNull();
    expect(retryAt(failed, { ...always, start_window: { from: '20:00', until: '22:05', days: [] } })).toBeNull();
    expect(retryAt(failed, { ...always, blackouts: [{ from: '2027-01-05T22:05:00.000Z', until: '2027-01-05T22:15:00.000Z', effect: 'defer' }] })).toBeNull();
  });
});
