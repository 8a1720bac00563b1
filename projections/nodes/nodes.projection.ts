import { unknownVariant } from '../../src/kernel/decider.js';
import type { NodeEvent } from '../../src/nodes/model/node.events.js';
import { asDomainEvent } from '../../src/platform/event-store/command-runner.js';
import type { Projection } from '../../src/platform/postgres/projection-definition.js';

export type NodeRow = {
  readonly node_id: string;
  readonly name: string;
  readonly url: string;
  /** `unknown` until the node has been called for the first time. */
  readonly state: 'unknown' | 'reachable' | 'unreachable';
  readonly version: string | null;
  readonly error: { readonly code: string; readonly detail: string } | null;
  readonly state_since: string | null;
  readonly registered_at: string;
};

export const nodesProjection: Projection<NodeRow> = {
  name: 'nodes',
  categories: ['node'],
  key: 'node_id',
  columns: {
    node_id: 'text',
    name: 'text',
    url: 'text',
    state: 'text',
    version: 'text',
    error: 'jsonb',
    state_since: 'timestamptz',
    registered_at: 'timestamptz',
  },
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<NodeEvent>(recorded);
    if (event.type === 'NodeRegistered') {
      const { node_id, name, url, registered_at } = event.data;
      return { node_id, name, url, state: 'unknown', version: null, error: null, state_since: null, registered_at };
    }
    if (event.type === 'NodeRemoved') return null;
    if (row === undefined) throw new Error(`node stream ${recorded.stream} has ${event.type} where no node is registered`);
    switch (event.type) {
      case 'NodeLeftoversRemoved':
        return row;
      case 'NodeMoved':
        return { ...row, url: event.data.url };
      case 'NodeBecameReachable':
        return { ...row, state: 'reachable', version: event.data.version, error: null, state_since: event.data.at };
      case 'NodeBecameUnreachable':
        return { ...row, state: 'unreachable', error: { code: event.data.code, detail: event.data.detail }, state_since: event.data.at };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
