import { DomainError, type ErrorKind } from '../../../../kernel/domain-error.js';
import type { MountFailed } from './restore-mount.events.js';
import type { RestoreMountState } from './restore-mount.state.js';

const KINDS: Readonly<Record<string, ErrorKind>> = {
  partition_not_found: 'not_found',
  restore_point_unreadable: 'conflict',
  filesystem_not_found: 'unprocessable',
  filesystem_encrypted: 'unprocessable',
  filesystem_unsupported: 'unprocessable',
  filesystem_damaged: 'unprocessable',
  mount_timed_out: 'upstream_silent',
};

/** The API error for a failed mount. */
export function mountFailure(mountId: string, { code, detail, partitions }: MountFailed['data']): DomainError {
  return new DomainError(KINDS[code] ?? 'unavailable', code, `The disk could not be mounted: ${detail}.`, { mount_id: mountId, partitions });
}

/** The API error for using a mount in this state; null if it can be used. */
export function accessRefusal(mountId: string, state: RestoreMountState): DomainError | null {
  const facts = { mount_id: mountId };
  switch (state.status) {
    case 'ready':
      return null;
    case 'none':
      return new DomainError('not_found', 'mount_not_found', `Mount ${mountId} does not exist.`, facts);
    case 'requested':
      return new DomainError('conflict', 'mount_not_ready', `Mount ${mountId} is not ready yet. Try again in a moment.`, facts);
    case 'failed':
      return new DomainError('gone', 'mount_failed', `Mount ${mountId} failed: ${state.failure.detail}.`, { ...facts, failure: state.failure.code });
    case 'unmounting':
    case 'released':
      return state.reason === 'expired'
        ? expired(mountId)
        : new DomainError('gone', 'mount_released', `Mount ${mountId} was unmounted. Mount the disk again.`, facts);
  }
}

export function expired(mountId: string): DomainError {
  return new DomainError('gone', 'mount_expired', `Mount ${mountId} was idle for too long and was unmounted. Mount the disk again.`, {
    mount_id: mountId,
  });
}
