import { describe, expect, it } from '@jest/globals';
import { DomainError } from '../../../../kernel/domain-error.js';
import { type BackupTypeQuestion, decideBackupType, type ParentPoint, type SourceDisk } from './backup-type.decide.js';

function sourceDisk(changes: Partial<SourceDisk> = {}): SourceDisk {
  return { disk_id: 0, disk_key: 'a', size_bytes: 10, format: 'qcow2', change_tracking: true, change_ids: ['x'], broken_change_ids: [], ...changes };
}

const point: ParentPoint = {
  backup_id: 'p',
  chain_id: 'c',
  chain_length: 1,
  disks: [{ disk_key: 'a', size_bytes: 10, file: 'vm/p/disk-0.qcow2', change_id: 'x' }],
};

function ask(changes: Partial<BackupTypeQuestion> = {}): ReturnType<typeof decideBackupType> {
  return decideBackupType({
    requested: 'auto',
    vm_name: 'v',
    disks: [sourceDisk()],
    parent: { kind: 'sound', point },
    new_disks_join: false,
    max_chain_length: 30,
    ...changes,
  });
}

const obstacles: readonly [string, Partial<BackupTypeQuestion>][] = [
  ['first_backup', { parent: { kind: 'none' } }],
  ['parent_missing', { parent: { kind: 'damaged', backup_id: 'p', chain_id: 'c', code: 'parent_missing', detail: 'gone', file: null } }],
  ['parent_truncated', { parent: { kind: 'damaged', backup_id: 'p', chain_id: 'c', code: 'parent_truncated', detail: 'short', file: null } }],
  ['parent_altered', { parent: { kind: 'damaged', backup_id: 'p', chain_id: 'c', code: 'parent_altered', detail: 'other', file: null } }],
  ['disk_added', { disks: [sourceDisk(), sourceDisk({ disk_id: 1, disk_key: 'b' })] }],
  ['disk_added', { new_disks_join: true, disks: [sourceDisk(), sourceDisk({ disk_id: 1, disk_key: 'b', change_tracking: false, format: 'raw' })] }],
  ['disk_removed', { new_disks_join: true, disks: [sourceDisk({ disk_key: 'b' })] }],
  ['disk_removed', { disks: [], parent: { kind: 'sound', point } }],
  ['disk_resized', { disks: [sourceDisk({ size_bytes: 11 })] }],
  ['disk_resized', { disks: [sourceDisk({ size_bytes: 9 })] }],
  ['no_change_tracking', { disks: [sourceDisk({ change_tracking: false, format: 'raw' })] }],
  ['change_id_lost', { disks: [sourceDisk({ change_ids: ['y'] })] }],
  ['change_id_lost', { disks: [sourceDisk({ change_ids: [], broken_change_ids: ['x'] })] }],
  ['chain_too_long', { max_chain_length: 1 }],
];

describe('full or incremental', () => {
  it('makes an incremental on a sound parent whose change ids are valid for every disk', () => {
    expect(ask()).toEqual({ backup_type: 'incremental', parent: point });
    expect(ask({ requested: 'incremental' })).toEqual({ backup_type: 'incremental', parent: point });
  });

  it('includes a new disk in an incremental if the source can tell that the disk is new', () => {
    expect(ask({ new_disks_join: true, disks: [sourceDisk({ disk_key: 'b', change_ids: [] }), sourceDisk({ disk_id: 1 })] })).toEqual({
      backup_type: 'incremental',
      parent: point,
    });
  });

  it('makes a full when one is requested, even if an incremental is possible', () => {
    expect(ask({ requested: 'full' })).toMatchObject({ backup_type: 'full', reason: 'requested' });
  });

  it.each(obstacles)('turns auto into a full because of %s', (reason, changes) => {
    expect(ask(changes)).toMatchObject({ backup_type: 'full', reason });
  });

  it.each(obstacles)('refuses an incremental because of %s', (reason, changes) => {
    try {
      ask({ ...changes, requested: 'incremental' });
    } catch (error) {
      expect(error).toBeInstanceOf(DomainError);
      expect(error).toMatchObject({ kind: 'conflict', code: 'incremental_impossible', facts: { reason } });
      return;
    }
    throw new Error('the incremental was not refused');
  });
});
