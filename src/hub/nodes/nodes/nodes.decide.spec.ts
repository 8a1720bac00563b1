import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../test/support/given-when-then.js';
import { decideRegisterLocalNode } from './register-local-node/register-local-node.decide.js';
import { decideRegisterNode } from './register-node/register-node.decide.js';
import { decideRemoveNode } from './remove-node/remove-node.decide.js';
import { decideObserveNode, type NodeObservation } from './watch-nodes/observe-node.decide.js';
import type { NodeEvent } from './model/node.events.js';
import { evolveNode, initialNodeState } from './model/node.state.js';

const at = '2026-11-21T10:15:00.000Z';
const node = { node_id: 'node-1', name: 'rack-1', url: 'http://127.0.0.1:9081', registered_at: at };
const registered: NodeEvent = { type: 'NodeRegistered', data: node };
const removed: NodeEvent = { type: 'NodeRemoved', data: { removed_at: at } };
const reachable: NodeEvent = { type: 'NodeBecameReachable', data: { at, version: '0.1.0' } };
const silent: NodeEvent = { type: 'NodeBecameUnreachable', data: { at, code: 'node_silent', detail: 'No answer.' } };
const stream = { initialState: initialNodeState, evolve: evolveNode };

describe('registering a node', () => {
  const { given } = specificationOf({ ...stream, decide: decideRegisterNode });

  it('records it, even if it was removed before', () => {
    given().when({ node, name_holder: null }).then(registered);
    given(registered, removed).when({ node, name_holder: null }).then(registered);
  });

  it('refuses a registered node, and a name that another node has', () => {
    given(registered).when({ node, name_holder: null }).thenRefused('node_already_registered');
    given().when({ node, name_holder: 'node-2' }).thenRefused('node_name_taken');
  });
});

describe('registering the local node', () => {
  const { given } = specificationOf({ ...stream, decide: decideRegisterLocalNode });
  const command = { node_id: 'node-1', name: 'rack-1', url: node.url, now: at };

  it('records it once', () => {
    given().when(command).then(registered);
    given(registered, reachable).when(command).then();
  });

  it('follows its address and keeps its name', () => {
    given(registered)
      .when({ ...command, name: 'other', url: 'http://127.0.0.1:9082' })
      .then({ type: 'NodeMoved', data: { url: 'http://127.0.0.1:9082', moved_at: at } });
  });
});

describe('removing a node', () => {
  const { given } = specificationOf({ ...stream, decide: decideRemoveNode });
  const command = { node_id: 'node-1', vm_names: [], removed_at: at };

  it('is possible without VMs', () => {
    given(registered).when(command).then(removed);
  });

  it('is refused while VMs refer to it, and where there is no such node', () => {
    given(registered)
      .when({ ...command, vm_names: ['pg'] })
      .thenRefused('node_in_use');
    given(registered, removed).when(command).thenRefused('node_not_found');
  });
});

describe('observing a node', () => {
  const { given } = specificationOf({ ...stream, decide: decideObserveNode });
  const up: NodeObservation = { kind: 'reachable', version: '0.1.0' };
  const down: NodeObservation = { kind: 'unreachable', code: 'node_silent', detail: 'No answer.' };

  it('records each change', () => {
    given(registered).when({ observation: up, at }).then(reachable);
    given(registered, reachable).when({ observation: down, at }).then(silent);
    given(registered, silent).when({ observation: up, at }).then(reachable);
    given(registered, reachable)
      .when({ observation: { ...up, version: '0.2.0' }, at })
      .thenTypes('NodeBecameReachable');
    given(registered, silent)
      .when({ observation: { ...down, code: 'node_unreachable' }, at })
      .thenTypes('NodeBecameUnreachable');
  });

  it('records nothing without a change, and nothing for a removed node', () => {
    given(registered, reachable).when({ observation: up, at }).then();
    given(registered, silent)
      .when({ observation: { ...down, detail: 'Still no answer.' }, at })
      .then();
    given(registered, removed).when({ observation: up, at }).then();
  });
});
