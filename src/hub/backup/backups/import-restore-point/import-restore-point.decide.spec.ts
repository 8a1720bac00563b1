import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { BackupEvent, RestorePointImported } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideImportRestorePoint } from './import-restore-point.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideImportRestorePoint });
const at = '2026-11-21T10:00:00.000Z';
/** The restore point of `histories`, as its manifest describes it. */
const point: RestorePointImported['data'] = {
  backup_id: 'b1',
  vm_id: 'v1',
  vm_name: 'pgtest1',
  node_id: 'n1',
  repository_id: 'r1',
  repository_path: '/srv/backups',
  backup_type: 'full',
  full_reason: 'first_backup',
  chain_id: 'c1',
  parent_backup_id: null,
  folder: 'pgtest1/20260101T000000Z-full-b1',
  instant: at,
  started_at: at,
  sealed_at: at,
  manifest_sha256: 'b'.repeat(64),
  disks: [],
  imported_at: at,
};
const imported: BackupEvent = { type: 'RestorePointImported', data: point };
const failed: BackupEvent = { type: 'BackupFailed', data: { stage: 'transfer', code: 'c', detail: 'd', failed_at: at } };
const deleted: BackupEvent = { type: 'BackupDeleted', data: { deleted_at: at } };

describe('importing a restore point', () => {
  it('takes one over that this hub does not know, as its manifest describes it', () => {
    given().when(point).then(imported);
  });

  it('changes nothing when it is known in the same place, imported before or made here', () => {
    given(imported)
      .when({ ...point, imported_at: 'later' })
      .then();
    given(...histories.completed)
      .when(point)
      .then();
  });

  it('is refused when it is known in another folder or another repository', () => {
    for (const elsewhere of [{ folder: 'pgtest1/other' }, { repository_id: 'r2' }]) {
      for (const history of [[imported], histories.completed]) {
        given(...history)
          .when({ ...point, ...elsewhere })
          .thenRefused('backup_already_known', { backup_id: 'b1', status: 'completed' });
      }
    }
  });

  it('is refused while a backup of its id has not been completed, and when it never will be', () => {
    given(...histories.requested)
      .when(point)
      .thenRefused('backup_already_known', { backup_id: 'b1', status: 'pending' });
    given(...histories.sealed)
      .when(point)
      .thenRefused('backup_already_known', { backup_id: 'b1', status: 'running' });
    given(...histories.snapshotTaken, failed)
      .when(point)
      .thenRefused('backup_already_known', { backup_id: 'b1', status: 'failed' });
  });

  it('does not bring back what was deleted', () => {
    given(imported, deleted).when(point).thenRefused('backup_already_known', { backup_id: 'b1', status: 'deleted' });
  });
});
