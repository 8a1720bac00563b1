import type { RestoreJobEvent } from '../../src/hub/restore/restore-jobs/model/restore-job.events.js';
import type { VmRestoreEvent, VmRestoreRequested } from '../../src/hub/restore/restore-jobs/model/vm-restore.events.js';

/** The first event of restore job `j1`, of one disk. */
export const restoreRequested: RestoreJobEvent = {
  type: 'RestoreJobRequested',
  data: {
    job_id: 'j1',
    backup_id: 'b1',
    chain_id: 'c1',
    vm_id: 'v1',
    vm_name: 'pgtest1',
    repository_id: 'r1',
    repository_path: '/srv/backups',
    target_path: '/srv/restore',
    format: 'raw',
    chain: 'flattened',
    overwrite: false,
    disks: [{ disk_id: 0, disk_key: 'disk0', virtual_size_bytes: 1000, sources: [], outputs: ['pgtest1-disk0.raw'] }],
    requested_at: '2026-11-21T11:00:00.000Z',
  },
};

/** What restore job `j1` of a VM of two disks is asked for. */
export function vmRestoreRequest(mode: VmRestoreRequested['data']['mode']): VmRestoreRequested['data'] {
  const isCopy = mode === 'copy';
  return {
    job_id: 'j1',
    backup_id: 'b1',
    chain_id: 'c1',
    vm_id: 'v1',
    vm_name: 'pgtest1',
    repository_id: 'r1',
    repository_path: '/srv/backups',
    folder: 'pgtest1/20260101T000000Z-full-b1',
    mode,
    node_id: 'n1',
    name: 'pgtest1-restored',
    uuid: null,
    keep_identity: false,
    start: true,
    network: 'disconnected',
    libvirt_network: null,
    storage_path: isCopy ? '/images' : null,
    disks: [0, 1].map((disk_id) => ({
      disk_id,
      disk_key: `disk${disk_id}`,
      virtual_size_bytes: 1000,
      sources: [],
      file_name: isCopy ? `pgtest1-disk${disk_id}.qcow2` : null,
    })),
    requested_at: '2026-11-21T11:00:00.000Z',
  };
}

export function vmRestoreRequested(mode: VmRestoreRequested['data']['mode']): VmRestoreEvent {
  return { type: 'VmRestoreRequested', data: vmRestoreRequest(mode) };
}

export function diskPublished(diskId: number): VmRestoreEvent {
  return {
    type: 'VmRestoreDiskPublished',
    data: { disk_id: diskId, export_id: `e${diskId}`, uri: `nbds://h:10100/disk${diskId}`, published_at: '2026-11-21T11:01:00.000Z' },
  };
}
