import { describe, expect, it } from '@jest/globals';
import type { PolicyWhatIf } from '../api/answers.js';
import { whatIfText } from './what-if.printer.js';

const NONE = { count: 0, first: [] };
const ANSWER: PolicyWhatIf = {
  version: 2,
  forward: {
    until: '2027-03-01T12:00:00.000Z',
    vms: { selected: 3, without_history: { count: 1, first: [{ vm_name: 'new-1' }] }, only_fulls: NONE },
    runs: { expected: 4, on_time: 3, moved: 0, skipped: 1, by_reason: [{ reason: 'blackout', runs: 1 }], starts_outside_window: 0, refused_backups: 0 },
    free_bytes: 2048,
    full_on: '2027-02-28',
    rpo: { rpo_seconds: 86_400, violations: { count: 1, first: [{ vm_name: 'web-1', worst_gap_seconds: 90_000, gap_from: 'a', gap_until: 'b' }] } },
    greatest: { points: 6, bytes: 4096 },
    kept_by: [{ rule: 'keep_daily', points: 5 }],
    days: [
      { day: '2027-01-30', made: 2, expired: 1, removed: 0, points: 2, bytes: 1024 },
      { day: '2027-01-31', made: 2, expired: 0, removed: 1, points: 3, bytes: 2048 },
      { day: '2027-02-01', made: 3, expired: 0, removed: 0, points: 6, bytes: 4096 },
    ],
  },
  backward: {
    since: '2026-12-01T00:00:00.000Z',
    restore_points: { existed: 2, would_exist: 1, only_now: 1, only_then: 0 },
    points: [
      { backup_id: 'b1', vm_name: 'web-1', snapshot_instant: 's', exists: true, would_exist: false, kept_by: [], gone_at: 'g' },
      { backup_id: 'b2', vm_name: 'web-1', snapshot_instant: 's', exists: true, would_exist: true, kept_by: ['last_good'], gone_at: null },
    ],
    restores: { made: 1, impossible: 1, first: [{ kind: 'mount', vm_name: 'web-1', backup_id: 'b1', requested_at: 'r', gone_at: 'g' }] },
  },
};

describe('a simulation on the command line', () => {
  it('has a line for each month: sums of what happened, and what there is at its end', () => {
    const lines = whatIfText(ANSWER, false).split('\n');
    expect(lines.find((line) => line.startsWith('2027-01'))?.split(/ {2,}/)).toEqual(['2027-01', '4', '1', '1', '3', '2.0 KiB']);
    expect(lines.filter((line) => line.startsWith('2027-02'))).toHaveLength(1);
  });

  it('has a line for each day if it is asked for', () => {
    expect(
      whatIfText(ANSWER, true)
        .split('\n')
        .filter((line) => line.startsWith('2027-')),
    ).toHaveLength(3);
  });

  it('says what is wrong: VMs left out, skipped runs, a full repository, a broken RPO, impossible restores', () => {
    const text = whatIfText(ANSWER, false);
    for (const part of ['new-1', '1 skipped (blackout 1)', 'full on 2027-02-28', 'The RPO of 86400 s is broken for 1 VM(s)', '1 would have been impossible']) {
      expect(text).toContain(part);
    }
    expect(text).toContain('b1');
    expect(text).not.toContain('b2');
  });
});
