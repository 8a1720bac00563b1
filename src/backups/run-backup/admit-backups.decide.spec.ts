import { describe, expect, it } from '@jest/globals';
import { decideAdmissions } from './admit-backups.decide.js';

const queued = (backup_id: string, vm_id: string) => ({ backup_id, vm_id });
const outcome = (...args: Parameters<typeof decideAdmissions>): string[] =>
  decideAdmissions(...args).map((admission) =>
    admission.start ? `${admission.backup_id} starts` : `${admission.backup_id} waits for ${admission.waiting_for}`,
  );

describe('who may start', () => {
  it('starts backups in the order they were asked for, up to the limit', () => {
    expect(outcome([queued('a', '1'), queued('b', '2'), queued('c', '3')], [], 2, null, false)).toEqual(['a starts', 'b starts', 'c waits for backup_limit']);
  });

  it('never runs two backups of one VM at once, and lets others pass the one that waits for its VM', () => {
    expect(outcome([queued('a', '1'), queued('b', '1'), queued('c', '2')], [{ backup_id: 'x', vm_id: '1', counts: true }], 8, null, false)).toEqual([
      'a waits for vm_busy',
      'b waits for vm_busy',
      'c starts',
    ]);
    expect(outcome([queued('a', '1'), queued('b', '1')], [], 8, null, false)).toEqual(['a starts', 'b waits for vm_busy']);
  });

  it('does not count a backup that is only being tidied up after against the limit, but its VM stays busy', () => {
    expect(outcome([queued('a', '1'), queued('b', '2')], [{ backup_id: 'x', vm_id: '1', counts: false }], 1, null, false)).toEqual([
      'a waits for vm_busy',
      'b starts',
    ]);
  });

  it('lets nobody pass a backup that waits for ports, and then lets them in one after the other', () => {
    const queue = [queued('a', '1'), queued('b', '2')];
    expect(outcome(queue, [], 8, { backup_id: 'a', missing: 2 }, false)).toEqual(['a waits for nbd_ports', 'b waits for nbd_ports']);
    expect(outcome(queue, [], 8, { backup_id: 'a', missing: 0 }, false)).toEqual(['a starts', 'b waits for nbd_ports']);
    expect(outcome(queue, [], 8, { backup_id: 'gone', missing: 0 }, true)).toEqual(['a waits for nbd_ports', 'b waits for nbd_ports']);
    expect(outcome(queue, [], 8, null, true)).toEqual(['a starts', 'b starts']);
  });
});
