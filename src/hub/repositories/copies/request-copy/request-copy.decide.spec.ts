import { describe, it } from '@jest/globals';
import { copyHistories, copyRequest } from '../../../../../test/support/copy-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { evolveCopy, initialCopyState } from '../model/copy.state.js';
import { decideRequestCopy } from './request-copy.decide.js';

const { given } = specificationOf({ initialState: initialCopyState, evolve: evolveCopy, decide: decideRequestCopy });
const command = { request: copyRequest, backup_status: 'completed', existing: null };

describe('requesting a copy', () => {
  it('is recorded once', () => {
    given().when(command).then({ type: 'CopyRequested', data: copyRequest });
    given(...copyHistories.planned)
      .when(command)
      .then();
  });

  it('is refused for a backup that is not a restore point', () => {
    given()
      .when({ ...command, backup_status: 'running' })
      .thenRefused('backup_not_copyable');
  });

  it('is refused into the repository of the restore point itself', () => {
    given()
      .when({ ...command, request: { ...copyRequest, repository_id: 'r1' } })
      .thenRefused('copy_target_is_source');
  });

  it.each([
    ['running', false],
    ['completed', false],
    ['completed', true],
  ] as const)('is refused while a copy there is %s (damaged: %s)', (status, damaged) => {
    given()
      .when({ ...command, existing: { copy_id: 'c0', status, damaged } })
      .thenRefused('copy_exists', { backup_id: 'b1', repository_id: 'r2', copy_id: 'c0' });
  });
});
