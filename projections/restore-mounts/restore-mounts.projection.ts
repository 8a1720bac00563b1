import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RestoreMountEvent } from '../../src/hub/restore/restore-mounts/model/restore-mount.events.js';
import { RestoreMountReadModel, type RestoreMountRow } from './restore-mounts.read-model.js';

export const restoreMountsProjection: Projection<RestoreMountRow> = {
  ...RestoreMountReadModel.definition,
  categories: ['restoreMount'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<RestoreMountEvent>(recorded);
    if (event.type === 'MountRequested') {
      const { mount_id, backup_id, vm_id, vm_name, repository_id, disk_index, partition, requested_at } = event.data;
      return {
        mount_id,
        backup_id,
        vm_id,
        vm_name,
        repository_id,
        disk_index,
        partition,
        status: 'mounting',
        driver: null,
        device: null,
        mount_path: null,
        filesystem_type: null,
        partitions: [],
        resources: [],
        error: null,
        unmount_reason: null,
        abandoned_calls: 0,
        created_at: requested_at,
        ready_at: null,
        accessed_at: null,
        expires_at: null,
        released_at: null,
        created_position: recorded.position,
      };
    }
    if (row === undefined) throw new Error(`mount stream ${recorded.stream} has ${event.type} before MountRequested`);
    switch (event.type) {
      case 'MountReady': {
        const { driver, device, mount_path, filesystem_type, partition, partitions, resources, ready_at, expires_at } = event.data;
        return {
          ...row,
          status: 'mounted',
          driver,
          device,
          mount_path,
          filesystem_type,
          partition,
          partitions,
          resources,
          ready_at,
          accessed_at: ready_at,
          expires_at,
        };
      }
      case 'MountFailed': {
        const { code, detail, partitions, failed_at } = event.data;
        return { ...row, status: 'failed', error: { code, detail }, partitions, released_at: failed_at };
      }
      case 'MountAccessed':
        return { ...row, accessed_at: event.data.accessed_at, expires_at: event.data.expires_at };
      case 'MountCallAbandoned':
        return { ...row, abandoned_calls: row.abandoned_calls + 1 };
      case 'UnmountRequested':
        return { ...row, status: 'unmounting', unmount_reason: event.data.reason };
      case 'MountReleased':
        return { ...row, status: 'released', resources: [], released_at: event.data.released_at };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
