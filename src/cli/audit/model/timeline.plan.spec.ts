import { describe, expect, it } from '@jest/globals';
import { bytesText } from '../../../kernel/bytes-text.js';
import { timelineOf as timeline, type TimelineEvent } from './timeline.plan.js';

const timelineOf = (events: readonly TimelineEvent[]) => timeline(events, bytesText);
const BACKUP = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11';

function event(type: string, second: number, more: Partial<TimelineEvent> = {}): TimelineEvent {
  const stream = more.stream ?? `backup-${BACKUP}`;
  return {
    type,
    stream,
    category: stream.slice(0, stream.indexOf('-')),
    actor: 'system:run-backup',
    correlation_id: 'c1',
    time: new Date(Date.UTC(2026, 10, 21, 10, 30, second)).toISOString(),
    data: {},
    ...more,
  };
}

const requested = event('BackupRequested', 1, { actor: 'api:alice', data: { vm_id: 'v1', vm_name: 'pgtest1', backup_type: 'auto', requested_at: 'then' } });

describe('a timeline', () => {
  it('has a block for each request, with subject, cause, outcome and duration', () => {
    const events = [
      event('CommandAccepted', 0, { stream: 'command-x', actor: 'api:alice', data: { method: 'POST', path: '/api/v1/backups' } }),
      requested,
      event('VmRegistered', 2, { stream: 'vm-v2', actor: 'api:bob', correlation_id: 'c2', data: { name: 'web1', source: 'image', disks: [{}, {}] } }),
      event('BackupCompleted', 30),
      event('ChangeTrackingSettled', 31, { data: { outcome: 'committed' } }),
    ];
    const [backup, vm, ...others] = timelineOf(events);
    expect(others).toEqual([]);
    expect(backup).toMatchObject({
      time: '2026-11-21T10:30:00.000Z',
      subject: `backup ${BACKUP} of pgtest1`,
      cause: 'requested by api:alice with POST /api/v1/backups',
      correlation_id: 'c1',
      outcome: 'completed',
      duration_ms: 31_000,
    });
    expect(backup?.steps.map(({ offset_ms, type, detail }) => [offset_ms, type, detail])).toEqual([
      [0, 'CommandAccepted', 'method POST, path /api/v1/backups'],
      [1_000, 'BackupRequested', 'backup_type auto'],
      [30_000, 'BackupCompleted', ''],
      [31_000, 'ChangeTrackingSettled', 'outcome committed'],
    ]);
    expect(vm).toMatchObject({ subject: 'vm web1 (v2)', cause: 'requested by api:bob', outcome: 'registered', duration_ms: 0 });
    expect(vm?.steps[0]?.detail).toBe('name web1, source image, 2 disks');
  });

  it('says why something failed, also if the clean-up was recorded later', () => {
    const error = { code: 'node_silent', detail: 'No report arrived for 300 s.' };
    expect(timelineOf([requested, event('BackupFailed', 9, { data: { error } }), event('BackupUndone', 10)])[0]?.outcome).toBe(
      'failed (node_silent: No report arrived for 300 s.)',
    );
  });

  it('names what the hub did by itself, and what a node reported by itself', () => {
    const own = { stream: 'node-n1', correlation_id: 'c3' };
    expect(timelineOf([event('NodeBecameReachable', 0, { ...own, actor: 'system:watch-nodes' })])[0]).toMatchObject({
      cause: 'by the hub itself (system:watch-nodes)',
      outcome: 'became reachable',
    });
    expect(timelineOf([event('NodeTunnelChanged', 0, { ...own, actor: 'node:n1' })])[0]?.cause).toBe('reported by node:n1');
  });

  it('joins what a stream repeats, and keeps what another one reports in between', () => {
    const progress = (bytes: number): TimelineEvent => event('DiskTransferProgressed', bytes, { data: { disk_id: 0, bytes_transferred: bytes * 1024 } });
    const [block] = timelineOf([requested, progress(2), progress(3), event('NbdExportStopped', 4, { stream: 'nbdExport-e1' }), progress(5)]);
    expect(block?.steps.map(({ offset_ms, type, times, detail }) => [offset_ms, type, times, detail])).toEqual([
      [0, 'BackupRequested', 1, 'backup_type auto'],
      [1_000, 'DiskTransferProgressed', 2, 'disk_id 0, bytes_transferred 3.0 KiB'],
      [3_000, 'NbdExportStopped', 1, ''],
      [4_000, 'DiskTransferProgressed', 1, 'disk_id 0, bytes_transferred 5.0 KiB'],
    ]);
  });

  it('passes nothing to a terminal that acts on it, and ends long details', () => {
    const [block] = timelineOf([
      event('RestorePointAccessed', 0, { stream: `access-${BACKUP}`, data: { path: '/a\u001b[2J\u202e\n', mode: 'x'.repeat(500) } }),
    ]);
    expect(block?.steps[0]?.detail).toMatch(/^path \/a\\u\{1b\}\[2J\\u\{202e\}\\u\{a\}, mode x+\.\.\.$/);
    expect(block?.steps[0]?.detail.length).toBeLessThan(120);
  });
});
