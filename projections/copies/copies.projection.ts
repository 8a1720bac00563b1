import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { CopyEvent } from '../../src/hub/repositories/copies/model/copy.events.js';
import { CopyReadModel, type CopyRow } from './copies.read-model.js';

export const copiesProjection: Projection<CopyRow> = {
  ...CopyReadModel.definition,
  categories: ['copy'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<CopyEvent>(recorded);
    if (event.type === 'CopyRequested') {
      const { copy_id, backup_id, vm_id, vm_name, chain_id, source_repository_id, repository_id, policy_id, requested_at } = event.data;
      return {
        copy_id,
        backup_id,
        vm_id,
        vm_name,
        chain_id,
        source_repository_id,
        repository_id,
        policy_id,
        status: 'pending',
        form: null,
        folder: null,
        parent_backup_id: null,
        total_bytes: null,
        written_bytes: null,
        kept_bytes: null,
        manifest_sha256: null,
        disks: null,
        interruption: null,
        error: null,
        damage: null,
        locked_until: null,
        expiry: null,
        healed: null,
        checked_at: null,
        checked_by_verification_id: null,
        removed: false,
        requested_at,
        verified_at: null,
        ended_at: null,
        created_position: recorded.position,
      };
    }
    if (row === undefined) throw new Error(`copy stream ${recorded.stream} has ${event.type} before CopyRequested`);
    switch (event.type) {
      case 'CopyPlanned': {
        const { form, folder, parent_backup_id, total_bytes } = event.data;
        return { ...row, status: 'running', form, folder, parent_backup_id, total_bytes, interruption: null };
      }
      case 'CopyInterrupted': {
        const { code, detail, interrupted_at } = event.data;
        return { ...row, interruption: { code, detail, since: interrupted_at } };
      }
      case 'CopyVerified': {
        const { manifest_sha256, disks, written_bytes, kept_bytes, verified_at } = event.data;
        return { ...row, manifest_sha256, disks, written_bytes, kept_bytes, verified_at, interruption: null };
      }
      case 'CopyCompleted':
        return { ...row, status: 'completed', interruption: null, ended_at: event.data.completed_at };
      case 'CopyLocked':
        return { ...row, locked_until: event.data.locked_until };
      case 'CopyFailed': {
        const { code, detail, failed_at } = event.data;
        return { ...row, status: 'failed', interruption: null, error: { code, detail }, ended_at: failed_at };
      }
      case 'CopyCancelled':
        return { ...row, status: 'cancelled', interruption: null, ended_at: event.data.cancelled_at };
      case 'CopyExpired':
        return { ...row, expiry: event.data };
      case 'CopyExpiryWithdrawn':
        return { ...row, expiry: null };
      case 'CopyDeleted':
        return { ...row, status: 'deleted', ended_at: event.data.deleted_at };
      case 'CopyUndone':
      case 'CopyFilesRemoved':
        return { ...row, removed: true };
      case 'CopyDamaged':
        return { ...row, damage: { ...event.data, ranges: [], verification_id: null } };
      case 'CopyDamagedV2':
        return { ...row, damage: event.data };
      case 'CopyChecked': {
        const { verification_id, checked_at } = event.data;
        return { ...row, checked_at, checked_by_verification_id: verification_id };
      }
      case 'CopyHealed': {
        const { files, verification_id, healed_at } = event.data;
        const healed = { files, verification_id, healed_at };
        return { ...row, damage: null, healed, checked_at: healed_at, checked_by_verification_id: verification_id };
      }
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
