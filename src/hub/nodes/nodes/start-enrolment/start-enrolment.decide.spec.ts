import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { byAddress, enrolled, expired, nodeStreamRules, offer, paired, removed, revoked, started, voided } from '../../../../../test/support/node-histories.js';
import { decideStartEnrolment } from './start-enrolment.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideStartEnrolment });
const command = { offer, name_holder: null };

describe('beginning to enrol a node', () => {
  it('is possible under a free name, and again for one that was revoked, removed or has not paired', () => {
    given().when(command).then(started);
    given(started, expired).when(command).then(started);
    given(started, voided).when(command).then(started);
    given(started, paired, enrolled, revoked).when(command).then(started);
    given(started, removed).when(command).then(started);
  });

  it('is refused for a name that another node has, and says which', () => {
    given()
      .when({ ...command, name_holder: 'n2' })
      .thenRefused('node_name_taken', { name: 'rack-1', node_id: 'n2' });
    given(started, expired)
      .when({ ...command, name_holder: 'n2' })
      .thenRefused('node_name_taken', { name: 'rack-1', node_id: 'n2' });
  });

  it('is refused while the node has a valid code, waits for approval, or is admitted', () => {
    for (const history of [[started], [started, paired], [started, paired, enrolled], [byAddress]]) {
      given(...history)
        .when(command)
        .thenRefused('node_name_taken', { name: 'rack-1', node_id: 'n1' });
    }
  });
});
