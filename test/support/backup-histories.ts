import type { BackupEvent } from '../../src/hub/backup/backups/model/backup.events.js';

/** Prefixes of one backup's history with two disks, each longer than the one before. */
const REQUESTED: BackupEvent = {
  type: 'BackupRequested',
  data: {
    backup_id: 'b1',
    vm_id: 'v1',
    vm_name: 'pgtest1',
    node_id: 'n1',
    repository_id: 'r1',
    backup_type: 'auto',
    policy_id: null,
    requested_at: '2026-01-01T00:00:00.000Z',
  },
};

const PLANNED: BackupEvent = {
  type: 'BackupPlannedV2',
  data: {
    backup_type: 'full',
    full_reason: 'first_backup',
    full_reason_detail: null,
    chain_id: 'c1',
    parent_backup_id: null,
    folder: 'pgtest1/20260101T000000Z-full-b1',
    started_at: '2026-01-01T00:00:01.000Z',
    disks: [0, 1].map((disk_id) => ({
      disk_id,
      disk_key: `disk${disk_id}.qcow2`,
      size_bytes: 1000,
      source_format: 'qcow2',
      file: `disk-${disk_id}.qcow2`,
      parent_file: null,
      parent_change_id: null,
    })),
    ports: [0, 1].map((disk_id) => ({ disk_id, nbd_port: 10100 + disk_id, export_name: `backup-disk${disk_id}` })),
  },
};

const TARGETS: readonly BackupEvent[] = [0, 1].map((disk_id) => ({
  type: 'DiskTargetCreated',
  data: {
    disk_id,
    export_id: `e${disk_id}`,
    export_name: `backup-pgtest1-disk${disk_id}`,
    nbd_port: 10100 + disk_id,
    qcow2_path: `/r/.partial/disk-${disk_id}.qcow2`,
  },
}));

const TRANSFER: BackupEvent = {
  type: 'TransferRequested',
  data: { node_id: 'n1', nbd_targets_string: 'disk0.qcow2:nbd://h:10100/a,disk1.qcow2:nbd://h:10101/b', requested_at: '2026-01-01T00:00:02.000Z' },
};

const SNAPSHOT: BackupEvent = {
  type: 'SnapshotTaken',
  data: {
    instant: '2026-01-01T00:00:03.000Z',
    change_ids: [
      { disk_id: 0, change_id: 'x' },
      { disk_id: 1, change_id: 'x' },
    ],
  },
};

const COPIED: readonly BackupEvent[] = [
  ...[0, 1].flatMap((disk_id): BackupEvent[] => [
    { type: 'DiskTransferStarted', data: { disk_id, total_bytes: 500 } },
    { type: 'DiskTransferCompleted', data: { disk_id, bytes_transferred: 500 } },
  ]),
  { type: 'SnapshotReleased', data: { released_at: '2026-01-01T00:00:09.000Z' } },
];

const SEALED: BackupEvent = {
  type: 'RestorePointSealed',
  data: {
    folder: 'pgtest1/20260101T000000Z-full-b1',
    files: [0, 1].map((disk_id) => ({ disk_id, file: `disk-${disk_id}.qcow2`, size_bytes: 600, sha256: 'a'.repeat(64), mtime_ns: '1' })),
    manifest_sha256: 'b'.repeat(64),
    sealed_at: '2026-01-01T00:00:10.000Z',
  },
};

const COMPLETED: BackupEvent = { type: 'BackupCompleted', data: { completed_at: '2026-01-01T00:00:11.000Z' } };

const requested = [REQUESTED];
const planned = [...requested, PLANNED];
const targeted = [...planned, ...TARGETS];
const transferring = [...targeted, TRANSFER];
const snapshotTaken = [...transferring, SNAPSHOT];
const copied = [...snapshotTaken, ...COPIED];
const sealed = [...copied, SEALED];
const completed = [...sealed, COMPLETED];

export const histories = { requested, planned, targeted, transferring, snapshotTaken, copied, sealed, completed } as const;
