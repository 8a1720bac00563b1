import { describe, expect, it } from '@jest/globals';
import { evolveNode, initialNodeState, type NodeState } from '../model/node.state.js';
import { decideRecordTunnel } from './record-tunnel.decide.js';

const NOW = '2026-11-21T10:40:00.000Z';
const registered = evolveNode(initialNodeState, {
  type: 'NodeRegistered',
  data: { node_id: 'n', name: 'far', url: 'http://127.0.0.1:9082', registered_at: '2026-11-21T10:30:00.000Z' },
});

function change(number: number, state: 'up' | 'down'): Parameters<typeof decideRecordTunnel>[0]['changes'][number] {
  const cause = state === 'up' ? null : { code: 'connection_lost', detail: 'It has ended.' };
  return { number, changed_at: `2026-11-21T10:35:0${number}.000Z`, state, cause, connections: { wanted: 2, up: state === 'up' ? 2 : 0 } };
}

function afterwards(state: NodeState, journal: string, changes: readonly ReturnType<typeof change>[]): NodeState {
  return decideRecordTunnel({ journal_id: journal, changes, now: NOW }, state).reduce(evolveNode, state);
}

const numbers = (state: NodeState, journal: string, changes: readonly ReturnType<typeof change>[]): readonly unknown[] =>
  decideRecordTunnel({ journal_id: journal, changes, now: NOW }, state).map(({ data }) => ('number' in data ? data.number : null));

describe("a node's report of its tunnel", () => {
  it('is recorded with its own times and the time of its arrival', () => {
    expect(decideRecordTunnel({ journal_id: 'a', changes: [change(1, 'down')], now: NOW }, registered)).toEqual([
      { type: 'NodeTunnelChanged', data: { journal_id: 'a', ...change(1, 'down'), recorded_at: NOW } },
    ]);
  });

  it('is recorded once and in order, however often it is sent', () => {
    const known = afterwards(registered, 'a', [change(2, 'up'), change(1, 'down')]);
    expect(numbers(registered, 'a', [change(2, 'up'), change(1, 'down')])).toEqual([1, 2]);
    expect(numbers(known, 'a', [change(1, 'down'), change(2, 'up'), change(3, 'down')])).toEqual([3]);
    expect(numbers(known, 'a', [change(1, 'down')])).toEqual([]);
  });

  it('is numbered from the start in a new journal', () => {
    expect(numbers(afterwards(registered, 'a', [change(5, 'up')]), 'b', [change(1, 'down')])).toEqual([1]);
  });

  it('is ignored for a node without access', () => {
    expect(numbers(initialNodeState, 'a', [change(1, 'up')])).toEqual([]);
    expect(numbers(evolveNode(registered, { type: 'NodeRemoved', data: { removed_at: NOW } }), 'a', [change(1, 'up')])).toEqual([]);
  });
});
