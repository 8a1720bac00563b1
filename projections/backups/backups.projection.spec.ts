import { describe, expect, it } from '@jest/globals';
import type { BackupEvent } from '../../src/hub/backup/backups/model/backup.events.js';
import type { NbdExportEvent } from '../../src/hub/exports/nbd-exports/model/nbd-export.events.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { FoldedRows, foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { backupsProjection } from './backups.projection.js';
import type { BackupRow } from './backups.read-model.js';

const MIB = 1024 * 1024;

function at(seconds: number): string {
  return new Date(Date.UTC(2026, 10, 21, 10, 0, seconds)).toISOString();
}

type History = readonly (readonly [seconds: number, event: BackupEvent | NbdExportEvent, exportId?: string])[];

/** Events of the backup `b1`, each recorded at its second. Events of exports name their export. */
function recorded(history: History): RecordedEvent[] {
  return history.map(([seconds, event, exportId], index): RecordedEvent => ({
    id: `e${index}`,
    stream: exportId === undefined ? 'backup-b1' : `nbdExport-${exportId}`,
    revision: index,
    position: String(index).padStart(19, '0'),
    type: event.type,
    data: event.data,
    metadata: { $correlationId: 'c', $causationId: 'd', actor: 'system:spec', hub_id: 'h', schema_version: 1, time: at(seconds) },
    recordedAt: at(seconds),
  }));
}

function fold(...history: History): BackupRow | undefined {
  // foldFromZero does not know the row type of this projection.
  return foldFromZero(backupsProjection, recorded(history))[0]?.row as BackupRow | undefined;
}

const requested: BackupEvent = {
  type: 'BackupRequested',
  data: { backup_id: 'b1', vm_id: 'v', vm_name: 'pgtest1', node_id: 'n', repository_id: 'r', backup_type: 'auto', policy_id: null, requested_at: at(0) },
};
const planned: BackupEvent = {
  type: 'BackupPlannedV2',
  data: {
    backup_type: 'full',
    full_reason: 'first_backup',
    full_reason_detail: null,
    chain_id: 'c1',
    parent_backup_id: null,
    folder: 'pgtest1-v/20261121T100000Z-full-b1',
    started_at: at(1),
    disks: [0, 1].map((disk_id) => ({
      disk_id,
      disk_key: `disk${disk_id}`,
      size_bytes: 1000 * MIB,
      source_format: 'qcow2',
      file: `disk-${disk_id}.qcow2`,
      parent_file: null,
      parent_change_id: null,
    })),
    ports: [0, 1].map((disk_id) => ({ disk_id, nbd_port: 10100 + disk_id, export_name: `backup-disk${disk_id}` })),
  },
};
const target: BackupEvent = {
  type: 'DiskTargetCreated',
  data: { disk_id: 0, export_id: 'x0', export_name: 'backup-x', nbd_port: 10100, qcow2_path: '/r/pgtest1-v/.partial-20261121T100000Z-full-b1/disk-0.qcow2' },
};
const transfer: BackupEvent = { type: 'TransferRequested', data: { node_id: 'n', nbd_targets_string: 'disk0:nbd://h:10100/backup-x', requested_at: at(2) } };
const snapshot: BackupEvent = {
  type: 'SnapshotTaken',
  data: {
    instant: at(3),
    change_ids: [
      { disk_id: 0, change_id: 'cbt-0' },
      { disk_id: 1, change_id: null },
    ],
  },
};
const started = (disk_id: number, total_bytes: number): BackupEvent => ({ type: 'DiskTransferStarted', data: { disk_id, total_bytes } });
const progressed = (disk_id: number, bytes_transferred: number, total_bytes: number): BackupEvent => ({
  type: 'DiskTransferProgressed',
  data: { disk_id, bytes_transferred, total_bytes },
});
const done = (disk_id: number, bytes_transferred: number): BackupEvent => ({ type: 'DiskTransferCompleted', data: { disk_id, bytes_transferred } });
const upToSnapshot = [
  [0, requested],
  [1, planned],
  [2, target],
  [2, transfer],
  [3, snapshot],
] as const;

describe('an instant that does not fit the column', () => {
  it('is folded to null', () => {
    const row = fold([0, requested], [1, planned], [2, { ...snapshot, data: { ...snapshot.data, instant: '2026-W48-1' } }]);
    expect(row?.instant).toBeNull();
  });
});

describe('backups projection', () => {
  it.each<[string, string, readonly BackupEvent[]]>([
    ['pending', 'queued', [requested]],
    ['pending', 'queued', [requested, { type: 'BackupQueued', data: { waiting_for: 'nbd_ports', detail: '' } }]],
    ['running', 'preparing', [requested, planned]],
    ['running', 'preparing', [requested, planned, target]],
    ['running', 'snapshot', [requested, planned, target, transfer]],
    ['running', 'transfer', [requested, planned, target, transfer, snapshot]],
    ['running', 'stalled', [requested, planned, target, transfer, snapshot, { type: 'TransferStalled', data: { silent_since: at(4) } }]],
    [
      'running',
      'transfer',
      [
        requested,
        planned,
        transfer,
        snapshot,
        { type: 'TransferStalled', data: { silent_since: at(4) } },
        { type: 'TransferResumed', data: { heard_at: at(5) } },
      ],
    ],
    ['running', 'sealing', [requested, planned, transfer, snapshot, { type: 'SnapshotReleased', data: { released_at: at(6) } }]],
    ['completed', 'completed', [requested, planned, { type: 'BackupCompleted', data: { completed_at: at(7) } }]],
    [
      'failed',
      'failed',
      [
        requested,
        planned,
        { type: 'BackupFailed', data: { stage: 'transfer', code: 'x', detail: 'y', failed_at: at(7) } },
        { type: 'SnapshotReleased', data: { released_at: at(8) } },
      ],
    ],
    ['cancelled', 'cancelled', [requested, { type: 'BackupCancelled', data: { cancelled_at: at(7) } }]],
    [
      'deleted',
      'deleted',
      [requested, planned, { type: 'BackupCompleted', data: { completed_at: at(7) } }, { type: 'BackupDeleted', data: { deleted_at: at(9) } }],
    ],
  ])('is %s in phase %s', (status, current_phase, events) => {
    expect(fold(...events.map((event, index) => [index, event] as const))).toMatchObject({ status, current_phase });
  });

  it('shows progress, speed and remaining time across all disks', () => {
    expect(fold(...upToSnapshot, [10, started(0, 400 * MIB)], [10, started(1, 600 * MIB)], [14, progressed(0, 200 * MIB, 400 * MIB)])).toMatchObject({
      bytes_transferred: 200 * MIB,
      total_bytes: 1000 * MIB,
      progress_percent: 20,
      transfer_speed_bps: 50 * MIB,
      eta_seconds: 16,
    });
  });

  it('gives no speed before the first bytes, and no remaining time before every disk has started', () => {
    expect(fold(...upToSnapshot, [10, started(0, 400 * MIB)])).toMatchObject({ transfer_speed_bps: null, eta_seconds: null, progress_percent: 0 });
    expect(fold(...upToSnapshot, [10, started(0, 400 * MIB)], [12, progressed(0, 200 * MIB, 400 * MIB)])).toMatchObject({
      transfer_speed_bps: 100 * MIB,
      eta_seconds: null,
      progress_percent: 25,
    });
  });

  it('is at 100 % when an incremental had nothing to copy', () => {
    expect(fold(...upToSnapshot, [4, started(0, 0)], [4, started(1, 0)], [4, done(0, 0)], [4, done(1, 0)])).toMatchObject({
      progress_percent: 100,
      total_bytes: 0,
    });
  });

  it('gives the process id of a disk while its export runs', () => {
    const request: NbdExportEvent = {
      type: 'NbdExportRequested',
      data: { export_id: 'x0', job_id: 'b1', export_name: 'backup-x', port: 10100, file: '/f', read_only: false, shared_limit: 10, requested_at: at(1) },
    };
    const running: NbdExportEvent = { type: 'NbdExportStarted', data: { pid: 4711, process_start_ticks: '1', boot_id: 'b', started_at: at(2) } };
    const stopped: NbdExportEvent = { type: 'NbdExportStopped', data: { signal: 'SIGTERM', stopped_at: at(9) } };
    expect(fold([0, requested], [1, planned], [1, request, 'x0'], [2, running, 'x0'], [2, target])?.exports).toEqual({ x0: 4711 });
    expect(fold([0, requested], [1, planned], [1, request, 'x0'], [2, running, 'x0'], [2, target], [9, stopped, 'x0'])?.exports).toEqual({ x0: null });
  });

  it('shows sealed files at their final path', () => {
    const sealed: BackupEvent = {
      type: 'RestorePointSealed',
      data: {
        folder: 'pgtest1-v/20261121T100000Z-full-b1',
        files: [{ disk_id: 0, file: 'disk-0.qcow2', size_bytes: 123, sha256: 'ab', mtime_ns: '1' }],
        manifest_sha256: 'cd',
        sealed_at: at(8),
      },
    };
    expect(fold(...upToSnapshot, [8, sealed])?.disks[0]).toMatchObject({
      qcow2_path: '/r/pgtest1-v/20261121T100000Z-full-b1/disk-0.qcow2',
      size_bytes: 123,
      sha256: 'ab',
      change_id: 'cbt-0',
    });
  });

  it('has no running disk after the backup has failed', () => {
    const failed: BackupEvent = { type: 'BackupFailed', data: { stage: 'transfer', code: 'copy_failed', detail: 'disk 1', failed_at: at(9) } };
    const diskFailed: BackupEvent = { type: 'DiskTransferFailed', data: { disk_id: 1, code: 'copy_failed', detail: 'exit code 1' } };
    const row = fold(...upToSnapshot, [4, started(0, MIB)], [4, started(1, MIB)], [5, diskFailed], [9, failed]);
    expect(row?.disks.map(({ status, error }) => [status, error?.code])).toEqual([
      ['failed', 'transfer_cut_off'],
      ['failed', 'copy_failed'],
    ]);
    expect(row?.error).toEqual({ code: 'copy_failed', stage: 'transfer', detail: 'disk 1' });
  });

  it('keeps versions of what is more than the progress of a disk', () => {
    const diskFailed: BackupEvent = { type: 'DiskTransferFailed', data: { disk_id: 1, code: 'copy_failed', detail: 'exit code 1' } };
    const rows = new FoldedRows(backupsProjection);
    const history: History = [
      ...upToSnapshot,
      [4, started(0, MIB)],
      [4, started(1, MIB)],
      [5, progressed(0, MIB / 2, MIB)],
      [6, done(0, MIB)],
      [7, diskFailed],
    ];
    for (const event of recorded(history)) rows.apply(event);
    const { past, written } = rows.changes();
    expect(past.map(({ row, since }) => [Number(since), row['current_phase']])).toEqual([
      [0, 'queued'],
      [1, 'preparing'],
      [3, 'snapshot'],
      [4, 'transfer'],
    ]);
    const statuses = [past[3]?.row, written[0]?.row].map((row) => (row as BackupRow | undefined)?.disks.map(({ status }) => status));
    expect(statuses).toEqual([
      ['completed', 'running'],
      ['completed', 'failed'],
    ]);
  });

  it('rejects a stream that does not begin with its request', () => {
    expect(() => fold([0, planned])).toThrow('before BackupRequested');
  });
});
