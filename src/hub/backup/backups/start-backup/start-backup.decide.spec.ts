import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { BackupEvent, BackupRequested } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideRequestBackup, type RequestBackup } from './start-backup.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideRequestBackup });
const request: BackupRequested['data'] = {
  backup_id: 'b1',
  vm_id: 'v1',
  vm_name: 'pgtest1',
  node_id: 'n1',
  repository_id: 'r1',
  backup_type: 'auto',
  policy_id: null,
  requested_at: '2026-01-01T00:00:00.000Z',
};
const requested: BackupEvent = { type: 'BackupRequested', data: request };
const command = (options: Partial<RequestBackup['options']> = {}): RequestBackup => ({
  kind: 'request-backup',
  request,
  options: { quiesce: 'try', bandwidth_limit_bps: null, ...options },
});

describe('requesting a backup', () => {
  it('records it without options where they are the usual ones', () => {
    given().when(command()).then(requested);
  });

  it.each([{ quiesce: 'require' as const }, { quiesce: 'none' as const }, { bandwidth_limit_bps: 1 }])('records the options with %j', (options) => {
    given()
      .when(command(options))
      .then(requested, { type: 'BackupOptionsChosen', data: { quiesce: 'try', bandwidth_limit_bps: null, ...options } });
  });

  it('changes nothing the second time, wherever the backup is by then', () => {
    for (const history of [histories.requested, histories.snapshotTaken, histories.completed]) {
      given(...history)
        .when(command({ bandwidth_limit_bps: 1 }))
        .then();
    }
  });
});
