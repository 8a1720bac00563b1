import { DomainError, type ErrorKind } from '../../../../kernel/domain-error.js';
import type { MountFailed } from '../model/restore-mount.events.js';
import type { RestoreMountState } from '../model/restore-mount.state.js';

const KINDS: Readonly<Record<string, ErrorKind>> = {
  partition_not_found: 'not_found',
  restore_point_unreadable: 'conflict',
  filesystem_not_found: 'unprocessable',
  filesystem_encrypted: 'unprocessable',
  filesystem_unsupported: 'unprocessable',
  filesystem_damaged: 'unprocessable',
  mount_timed_out: 'upstream_silent',
};

/** Why a mount did not come about, as whoever asked for it is told. */
export function mountFailure(mountId: string, { code, detail, partitions }: MountFailed['data']): DomainError {
  return new DomainError(KINDS[code] ?? 'unavailable', code, `The disk could not be mounted: ${detail}.`, { mount_id: mountId, partitions });
}

/** Why a mount cannot be used in this state; null when it can. */
export function accessRefusal(mountId: string, state: RestoreMountState): DomainError | null {
  const facts = { mount_id: mountId };
  switch (state.status) {
    case 'ready':
      return null;
    case 'none':
      return new DomainError('not_found', 'mount_not_found', `There is no mount ${mountId}.`, facts);
    case 'requested':
      return new DomainError('conflict', 'mount_not_ready', `Mount ${mountId} is still coming about; try again in a moment.`, facts);
    case 'failed':
      return new DomainError('gone', 'mount_failed', `Mount ${mountId} never came about: ${state.failure.detail}.`, { ...facts, failure: state.failure.code });
    case 'unmounting':
    case 'released':
      return state.reason === 'expired'
        ? expired(mountId)
        : new DomainError('gone', 'mount_released', `Mount ${mountId} has been taken down. Mount the disk again.`, facts);
  }
}

export function expired(mountId: string): DomainError {
  return new DomainError('gone', 'mount_expired', `Mount ${mountId} was idle for too long and has been taken down. Mount the disk again.`, {
    mount_id: mountId,
  });
}
