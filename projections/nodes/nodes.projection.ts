import { unknownVariant } from '../../src/kernel/decider.js';
import { enrolledNodeUrl, type NodeEnrolmentEvent, type NodeEnrolmentStarted, type NodeEvent } from '../../src/hub/nodes/nodes/model/node.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { NodeReadModel, type NodeEnrolmentRow, type NodeRow } from './nodes.read-model.js';

export const nodesProjection: Projection<NodeRow> = {
  ...NodeReadModel.definition,
  categories: ['node'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<NodeEvent>(recorded);
    if (event.type === 'NodeRegistered') {
      const { node_id, name, url, registered_at } = event.data;
      return { node_id, name, url, state: 'unknown', version: null, error: null, state_since: null, registered_at, enrolment: null, tunnel: null };
    }
    if (event.type === 'NodeEnrolmentStarted') return offered(event.data, row?.registered_at ?? event.data.started_at);
    if (event.type === 'NodeRemoved') return null;
    if (row === undefined) throw new Error(`node stream ${recorded.stream} has ${event.type} where no node is registered`);
    switch (event.type) {
      case 'NodeLeftoversRemoved':
        return row;
      case 'NodeTunnelChanged': {
        const { state, changed_at, cause, connections } = event.data;
        return { ...row, tunnel: { state, since: changed_at, cause, connections } };
      }
      case 'NodeMoved':
        return { ...row, url: event.data.url };
      case 'NodeBecameReachable':
        return { ...row, state: 'reachable', version: event.data.version, error: null, state_since: event.data.at };
      case 'NodeBecameUnreachable':
        return { ...row, state: 'unreachable', error: { code: event.data.code, detail: event.data.detail }, state_since: event.data.at };
      case 'NodePairingFailed':
      case 'NodePaired':
      case 'NodeEnrolled':
      case 'NodeKeyRotationStarted':
      case 'NodeKeyRotated':
      case 'NodeRevoked':
        if (row.enrolment === null) throw new Error(`node stream ${recorded.stream} has ${event.type} where no node is enrolled`);
        return withKeys(row, row.enrolment, event);
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function offered({ node_id, name, reverse_port, expires_at, started_at }: NodeEnrolmentStarted['data'], registeredAt: string): NodeRow {
  const enrolment: NodeEnrolmentRow = {
    state: 'pairing',
    reverse_port,
    expires_at,
    public_key_fingerprint: null,
    host: null,
    problem: null,
    rotating: false,
    paired_at: null,
    enrolled_at: null,
    keys_rotated_at: null,
    revoked_at: null,
  };
  const url = enrolledNodeUrl(reverse_port);
  return { node_id, name, url, state: 'pairing', version: null, error: null, state_since: started_at, registered_at: registeredAt, enrolment, tunnel: null };
}

function withKeys(row: NodeRow, enrolment: NodeEnrolmentRow, event: Exclude<NodeEnrolmentEvent, NodeEnrolmentStarted>): NodeRow {
  switch (event.type) {
    case 'NodePairingFailed': {
      const { code, detail, failed_at } = event.data;
      const problem = { code, detail };
      if (code === 'wrong_proof') return { ...row, enrolment: { ...enrolment, problem } };
      return { ...row, state: 'pairing_failed', state_since: failed_at, enrolment: { ...enrolment, state: 'failed', problem } };
    }
    case 'NodePaired': {
      const { public_key_fingerprint, host, paired_at } = event.data;
      const paired: NodeEnrolmentRow = { ...enrolment, state: 'awaiting_approval', public_key_fingerprint, host, paired_at };
      return { ...row, state: 'awaiting_approval', state_since: paired_at, enrolment: paired };
    }
    case 'NodeEnrolled': {
      const { url, enrolled_at } = event.data;
      return { ...row, url, state: 'unknown', state_since: enrolled_at, enrolment: { ...enrolment, state: 'enrolled', enrolled_at } };
    }
    case 'NodeKeyRotationStarted':
      return { ...row, enrolment: { ...enrolment, rotating: true } };
    case 'NodeKeyRotated': {
      const { public_key_fingerprint, rotated_at } = event.data;
      return { ...row, enrolment: { ...enrolment, public_key_fingerprint, rotating: false, keys_rotated_at: rotated_at } };
    }
    case 'NodeRevoked': {
      const { revoked_at } = event.data;
      const revoked: NodeEnrolmentRow = { ...enrolment, state: 'revoked', rotating: false, revoked_at };
      return { ...row, state: 'revoked', state_since: revoked_at, version: null, error: null, enrolment: revoked, tunnel: null };
    }
    default:
      return unknownVariant('node enrolment', event);
  }
}
