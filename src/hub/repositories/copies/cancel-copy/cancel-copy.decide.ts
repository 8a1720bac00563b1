import { DomainError } from '../../../../kernel/domain-error.js';
import type { CopyEvent } from '../model/copy.events.js';
import type { CopyState } from '../model/copy.state.js';

export type CancelCopyAt = { readonly copy_id: string; readonly cancelled_at: string };

/** Cancelling again changes nothing. A copy that is a restore point already is deleted instead. */
export function decideCancelCopy({ copy_id, cancelled_at }: CancelCopyAt, state: CopyState): readonly CopyEvent[] {
  switch (state.status) {
    case 'none':
      throw new DomainError('not_found', 'copy_not_found', `There is no copy ${copy_id}.`, { copy_id });
    case 'pending':
    case 'running':
      return [{ type: 'CopyCancelled', data: { cancelled_at } }];
    case 'cancelled':
      return [];
    case 'completed':
    case 'failed':
    case 'deleted':
      throw new DomainError('conflict', 'copy_already_ended', `Copy ${copy_id} can no longer be cancelled: it is ${state.status}.`, {
        copy_id,
        copy_status: state.status,
      });
  }
}
