import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { byAddress, enrolled, nodeStreamRules, NODE_URL, paired, removed, revoked, secondsLater, started } from '../../../../../test/support/node-histories.js';
import { decideRegisterNode } from './register-node.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideRegisterNode });
const node = { node_id: 'n1', name: 'rack-1', url: NODE_URL, registered_at: secondsLater(0) };

describe('registering a node', () => {
  it('records it, also when it had been removed before', () => {
    given().when({ node, name_holder: null }).then(byAddress);
    given(byAddress, removed).when({ node, name_holder: null }).then(byAddress);
  });

  it('is refused for a node that is known, under whichever name', () => {
    for (const history of [[byAddress], [started], [started, paired], [started, paired, enrolled], [started, paired, enrolled, revoked]]) {
      given(...history)
        .when({ node: { ...node, name: 'other' }, name_holder: null })
        .thenRefused('node_already_registered', { node_id: 'n1', name: 'rack-1' });
    }
  });

  it('is refused under a name that another node has, and says which', () => {
    given().when({ node, name_holder: 'n2' }).thenRefused('node_name_taken', { name: 'rack-1', node_id: 'n2' });
  });
});
