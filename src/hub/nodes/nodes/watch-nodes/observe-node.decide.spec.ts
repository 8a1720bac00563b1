import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { byAddress, enrolled, nodeStreamRules, paired, removed, revoked, secondsLater, started } from '../../../../../test/support/node-histories.js';
import type { NodeEvent } from '../model/node.events.js';
import { decideObserveNode, type NodeObservation } from './observe-node.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideObserveNode });
const at = secondsLater(30);
const up: NodeObservation = { kind: 'reachable', version: '0.1.0' };
const down: NodeObservation = { kind: 'unreachable', code: 'node_silent', detail: 'No answer.' };
const reachable: NodeEvent = { type: 'NodeBecameReachable', data: { at, version: '0.1.0' } };
const silent: NodeEvent = { type: 'NodeBecameUnreachable', data: { at, code: 'node_silent', detail: 'No answer.' } };

describe('observing a node', () => {
  it('records the first observation, whatever it is', () => {
    given(byAddress).when({ observation: up, at }).then(reachable);
    given(byAddress).when({ observation: down, at }).then(silent);
    given(started, paired, enrolled).when({ observation: up, at }).then(reachable);
  });

  it('records that a node goes and comes back, in the same version too', () => {
    given(byAddress, reachable).when({ observation: down, at }).then(silent);
    given(byAddress, reachable, silent).when({ observation: up, at }).then(reachable);
  });

  it('records another version, and another cause of silence', () => {
    given(byAddress, reachable)
      .when({ observation: { ...up, version: '0.2.0' }, at })
      .then({ type: 'NodeBecameReachable', data: { at, version: '0.2.0' } });
    given(byAddress, silent)
      .when({ observation: { ...down, code: 'node_unreachable' }, at })
      .then({ type: 'NodeBecameUnreachable', data: { at, code: 'node_unreachable', detail: 'No answer.' } });
  });

  it('records nothing while a node stays as it is, in whatever words that is said', () => {
    given(byAddress, reachable)
      .when({ observation: up, at: secondsLater(60) })
      .then();
    given(byAddress, silent)
      .when({ observation: { ...down, detail: 'Still no answer.' }, at })
      .then();
  });

  it('records nothing of a node that is not let in', () => {
    for (const history of [[], [started], [started, paired], [started, paired, enrolled, revoked], [byAddress, removed]]) {
      given(...history)
        .when({ observation: up, at })
        .then();
      given(...history)
        .when({ observation: down, at })
        .then();
    }
  });
});
