import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type {
  MountDriverName,
  MountPartition,
  MountResource,
  RestoreMountEvent,
  UnmountReason,
} from '../../src/hub/restore/restore-mounts/model/restore-mount.events.js';

export type RestoreMountStatus = 'mounting' | 'mounted' | 'unmounting' | 'failed' | 'released';

export type RestoreMountRow = {
  readonly mount_id: string;
  readonly backup_id: string;
  readonly vm_id: string;
  readonly vm_name: string;
  readonly repository_id: string;
  readonly disk_index: number;
  /** The requested partition; once mounted, the mounted one. */
  readonly partition: number | null;
  readonly status: RestoreMountStatus;
  readonly driver: MountDriverName | null;
  readonly device: string | null;
  readonly mount_path: string | null;
  readonly filesystem_type: string | null;
  readonly partitions: readonly MountPartition[];
  readonly resources: readonly MountResource[];
  readonly error: { readonly code: string; readonly detail: string } | null;
  readonly unmount_reason: UnmountReason | null;
  readonly abandoned_calls: number;
  readonly created_at: string;
  readonly ready_at: string | null;
  readonly accessed_at: string | null;
  readonly expires_at: string | null;
  readonly released_at: string | null;
  readonly created_position: string;
};

export const restoreMountsProjection: Projection<RestoreMountRow> = {
  name: 'restore_mounts',
  categories: ['restoreMount'],
  key: 'mount_id',
  columns: {
    mount_id: 'text',
    backup_id: 'text',
    vm_id: 'text',
    vm_name: 'text',
    repository_id: 'text',
    disk_index: 'integer',
    partition: 'integer',
    status: 'text',
    driver: 'text',
    device: 'text',
    mount_path: 'text',
    filesystem_type: 'text',
    partitions: 'jsonb',
    resources: 'jsonb',
    error: 'jsonb',
    unmount_reason: 'text',
    abandoned_calls: 'integer',
    created_at: 'timestamptz',
    ready_at: 'timestamptz',
    accessed_at: 'timestamptz',
    expires_at: 'timestamptz',
    released_at: 'timestamptz',
    created_position: 'text',
  },
  nullable: {
    partition: true,
    driver: true,
    device: true,
    mount_path: true,
    filesystem_type: true,
    error: true,
    unmount_reason: true,
    ready_at: true,
    accessed_at: true,
    expires_at: true,
    released_at: true,
  },
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
