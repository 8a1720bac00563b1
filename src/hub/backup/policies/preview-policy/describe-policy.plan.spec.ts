import { describe, expect, it } from '@jest/globals';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import type { Retention } from '../model/policy.events.js';
import { describePolicy } from './describe-policy.plan.js';

describe('the sentence that describes a policy', () => {
  it('says what is backed up, where and when', () => {
    expect(describePolicy(POLICY_SETTINGS, { vms: 2, repository: 'main' })).toBe(
      'Backs up 2 VMs into repository "main": daily at 22:00 (UTC), catching up the newest missed run within 12 hours. Keeps every restore point.',
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
      rpo_seconds: 90_000,
    };
    expect(describePolicy(settings, { vms: 1, repository: null })).toBe(
      'Is disabled, and would back up 1 VM into a deleted repository with a full backup each time: daily at 22:00 (UTC), spread over 600 s, starting only from 22:00 to 06:00 on mon, tue, except in 1 blackout, without catching up missed runs, with a newest restore point at most 25 h old. Keeps every restore point.',
    );
  });

  it('says what is checked and cancelled', () => {
    const verification = { every_nth: 7, boot_every_days: 30, console_text: null, guest_agent: true, timeout_seconds: 300 };
    const settings = { ...POLICY_SETTINGS, verification, run_within: 'cancel' as const, concurrency_timeout_seconds: 7200 };
    expect(describePolicy(settings, { vms: 1, repository: 'main' })).toContain(
      'cancelling backups that still run when they may not start any more, cancelling backups that wait in the queue for 2 h, catching up the newest missed run within 12 hours. Of each VM it verifies the first restore point and one of every 7 after it and boots one every 30 days. Keeps every',
    );
  });

  it('says what is copied, and which copies are kept', () => {
    const nothing = { keep_last: null, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null };
    const copies = [
      { repository_id: 'r2', which: 'every', with_parents: true, bandwidth_limit_bps: null },
      { repository_id: 'r3', which: 'monthly', with_parents: false, bandwidth_limit_bps: null, retention: { ...nothing, keep_monthly: 12 } },
    ] as const;
    expect(describePolicy({ ...POLICY_SETTINGS, copies }, { vms: 2, repository: 'main' })).toContain(
      'Copies every restore point into another repository, with those it depends on. Copies the first restore point of each month into another repository, flattened into a full. Of these copies of each VM it keeps the first of each of the newest 12 months that have any; others expire. Keeps every',
    );
  });

  it.each<[Partial<Retention>, string]>([
    [{ keep_last: 1 }, 'Of each VM it keeps the newest restore point; others expire.'],
    [{ keep_within: '14d' }, 'Of each VM it keeps those at most 14d older than the newest; others expire.'],
    [{ keep_daily: 7 }, 'Of each VM it keeps the first of each of the newest 7 days that have any; others expire.'],
    [
      { keep_last: 3, keep_within: '2d', keep_daily: 7, keep_weekly: 4, keep_monthly: 12, keep_yearly: 1, applies_to: 'new' },
      'Of each VM it keeps the newest 3 restore points, those at most 2d older than the newest and the first of each of the newest 7 days, 4 ISO weeks, 12 months and 1 year that have any; others expire. Restore points made under earlier versions keep following the rules that they followed.',
    ],
  ])('says what %j keeps', (rules, expected) => {
    const none = { keep_last: null, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' as const };
    const sentence = describePolicy({ ...POLICY_SETTINGS, retention: { ...none, ...rules } }, { vms: 2, repository: 'main' });
    expect(sentence.slice(sentence.indexOf('. ') + 2)).toBe(expected);
  });
});
