import type { MountFailed, MountReady, RestoreMountEvent, UnmountReason } from '../../src/hub/restore/restore-mounts/model/restore-mount.events.js';

/** The given minute of one hour. */
export function minute(number: number): string {
  return `2026-11-21T10:${String(number).padStart(2, '0')}:00.000Z`;
}

export const mountRequested: RestoreMountEvent = {
  type: 'MountRequested',
  data: {
    mount_id: 'm1',
    backup_id: 'b1',
    vm_id: 'v1',
    vm_name: 'pgtest1',
    repository_id: 'r1',
    disk_index: 0,
    file: '/r/disk-0.qcow2',
    partition: null,
    idle_limit_seconds: 1800,
    requested_at: minute(0),
  },
};

/** Expires at minute 31. */
export const mountReady: MountReady = {
  type: 'MountReady',
  data: {
    driver: 'fuse',
    device: '/run/m1/disk',
    mount_path: '/run/m1/files',
    filesystem_type: 'ext4',
    partition: 1,
    partitions: [],
    resources: [],
    ready_at: minute(1),
    expires_at: minute(31),
  },
};

export const mountFailed: MountFailed = {
  type: 'MountFailed',
  data: { code: 'filesystem_damaged', detail: 'the journal is broken', partitions: [], leftovers: [], failed_at: minute(1) },
};

export function unmounting(reason: UnmountReason): RestoreMountEvent {
  return { type: 'UnmountRequested', data: { reason, detail: null, requested_at: minute(2) } };
}

export const released: RestoreMountEvent = { type: 'MountReleased', data: { forced: false, leftovers: [], released_at: minute(3) } };
