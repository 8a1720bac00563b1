import { describe, expect, it } from '@jest/globals';
import { decideAdmissions } from './admit-backups.decide.js';

const queued = (backup_id: string, vm_id: string) => ({ backup_id, vm_id });
const outcome = (...args: Parameters<typeof decideAdmissions>): string[] =>
  decideAdmissions(...args).map((admission) =>
    admission.start ? `${admission.backup_id} starts` : `${admission.backup_id} waits for ${admission.waiting_for}`,
  );

describe('admission of backups', () => {
  it('starts backups in the order of their requests, up to the limit', () => {
    expect(outcome([queued('a', '1'), queued('b', '2'), queued('c', '3')], [], 2, null, false)).toEqual(['a starts', 'b starts', 'c waits for backup_limit']);
  });

  it('never runs two backups of one VM at once, and lets others overtake a backup that waits for its VM', () => {
    expect(outcome([queued('a', '1'), queued('b', '1'), queued('c', '2')], [{ backup_id: 'x', vm_id: '1', counts: true }], 8, null, false)).toEqual([
      'a waits for vm_busy',
      'b waits for vm_busy',
      'c starts',
    ]);
    expect(outcome([queued('a', '1'), queued('b', '1')], [], 8, null, false)).toEqual(['a starts', 'b waits for vm_busy']);
  });

  it('does not count a backup that is only being cleaned up against the limit, but its VM stays busy', () => {
    expect(outcome([queued('a', '1'), queued('b', '2')], [{ backup_id: 'x', vm_id: '1', counts: false }], 1, null, false)).toEqual([
      'a waits for vm_busy',
      'b starts',
    ]);
  });

  const short = (backup_id: string, missing: number, missing_without_backups = 0) => new Map([[backup_id, { missing, missing_without_backups }]]);

  it('lets no backup overtake one that waits for ports, and then admits them one at a time', () => {
    const queue = [queued('a', '1'), queued('b', '2')];
    expect(outcome(queue, [], 8, short('a', 2), false)).toEqual(['a waits for nbd_ports', 'b waits for nbd_ports']);
    expect(outcome(queue, [], 8, short('a', 0), false)).toEqual(['a starts', 'b waits for nbd_ports']);
    expect(outcome(queue, [], 8, short('gone', 0), true)).toEqual(['a waits for nbd_ports', 'b waits for nbd_ports']);
    expect(outcome(queue, [], 8, null, true)).toEqual(['a starts', 'b starts']);
  });

  it('lets others, one at a time, overtake a backup for which no running backup can free enough ports, and keeps its place', () => {
    const queue = [queued('large', '1'), queued('b', '2'), queued('c', '3')];
    expect(outcome(queue, [], 8, short('large', 3, 1), false)).toEqual(['large waits for nbd_ports', 'b starts', 'c waits for nbd_ports']);
    expect(outcome(queue, [], 8, short('large', 3, 1), true)).toEqual(['large waits for nbd_ports', 'b waits for nbd_ports', 'c waits for nbd_ports']);
    // Once the ports held by others are free, it waits only for running backups.
    expect(outcome(queue, [], 8, short('large', 3, 0), false)).toEqual(['large waits for nbd_ports', 'b waits for nbd_ports', 'c waits for nbd_ports']);
    expect(outcome(queue, [], 8, short('large', 0, 1), false)).toEqual(['large starts', 'b waits for nbd_ports', 'c waits for nbd_ports']);
  });

  it('remembers the shortage of each backup, so that two of them do not retry in turn forever', () => {
    const both = new Map([...short('large', 3, 1), ...short('b', 1, 1)]);
    expect(outcome([queued('large', '1'), queued('b', '2')], [], 8, both, false)).toEqual(['large waits for nbd_ports', 'b waits for nbd_ports']);
  });
});
