import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import {
  byAddress,
  enrolled,
  expired,
  nodeStreamRules,
  NODE_URL,
  paired,
  removed,
  revoked,
  secondsLater,
  started,
} from '../../../../../test/support/node-histories.js';
import { decideRegisterLocalNode } from './register-local-node.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideRegisterLocalNode });
const command = { node_id: 'n1', name: 'rack-1', url: NODE_URL, now: secondsLater(0) };

describe('registering the local node', () => {
  it('records it at the first start, and again after it was removed', () => {
    given().when(command).then(byAddress);
    given(byAddress, removed).when(command).then(byAddress);
  });

  it('changes nothing at later starts', () => {
    given(byAddress).when(command).then();
  });

  it('follows its address and keeps its name', () => {
    given(byAddress)
      .when({ ...command, name: 'other', url: 'http://127.0.0.1:9083', now: secondsLater(50) })
      .then({ type: 'NodeMoved', data: { url: 'http://127.0.0.1:9083', moved_at: secondsLater(50) } });
  });

  it('is refused with the id of a node that is enrolled, or is about to be or was', () => {
    for (const history of [[started], [started, expired], [started, paired], [started, paired, enrolled], [started, paired, enrolled, revoked]]) {
      given(...history)
        .when(command)
        .thenRefused('node_enrolled_elsewhere', { node_id: 'n1' });
    }
  });
});
