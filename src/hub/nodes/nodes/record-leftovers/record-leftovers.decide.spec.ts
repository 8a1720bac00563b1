import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { byAddress, enrolled, nodeStreamRules, paired, removed, revoked, secondsLater, started } from '../../../../../test/support/node-histories.js';
import { decideRecordLeftovers } from './record-leftovers.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideRecordLeftovers });
const changeIds = [{ source: 'image' as const, source_ref: '/images/web', change_id: 'sendense-1' }];
const leftovers = { change_ids: changeIds, swept: ['backup job j1'], removed_at: secondsLater(30) };

describe('what a node has removed of earlier backups', () => {
  it('is recorded when it was a change id, or anything else, or both', () => {
    for (const data of [leftovers, { ...leftovers, swept: [] }, { ...leftovers, change_ids: [] }]) {
      given(byAddress).when(data).then({ type: 'NodeLeftoversRemoved', data });
      given(started, paired, enrolled).when(data).then({ type: 'NodeLeftoversRemoved', data });
    }
  });

  it('is not recorded when it was nothing', () => {
    given(byAddress)
      .when({ ...leftovers, change_ids: [], swept: [] })
      .then();
  });

  it('is not recorded of a node that is not let in', () => {
    for (const history of [[], [started], [started, paired], [started, paired, enrolled, revoked], [byAddress, removed]]) {
      given(...history)
        .when(leftovers)
        .then();
    }
  });
});
