import { describe, expect, it } from '@jest/globals';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { describePolicy } from './describe-policy.plan.js';

describe('the sentence that describes a policy', () => {
  it('says what is backed up, where and when', () => {
    expect(describePolicy(POLICY_SETTINGS, { vms: 2, repository: 'main' })).toBe(
      'Backs up 2 VMs into repository "main": daily at 22:00 (UTC), catching up the newest missed run within 12 hours.',
    );
  });

  it('names everything that limits it', () => {
    const settings = {
      ...POLICY_SETTINGS,
      enabled: false,
      backup_type: 'full' as const,
      spread_seconds: 600,
      start_window: { from: '22:00', until: '06:00', days: ['mon', 'tue'] as const },
      blackouts: [{ from: 'a', until: 'b', effect: 'skip' as const }],
      catch_up: 'none' as const,
    };
    expect(describePolicy(settings, { vms: 1, repository: null })).toBe(
      'Is disabled, and would back up 1 VM into a deleted repository with a full backup each time: daily at 22:00 (UTC), spread over 600 s, starting only from 22:00 to 06:00 on mon, tue, except in 1 blackout, without catching up missed runs.',
    );
  });
});
