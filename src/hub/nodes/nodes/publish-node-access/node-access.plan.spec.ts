import { describe, expect, it } from '@jest/globals';
import {
  byAddress,
  enrolled,
  expired,
  nodeStreamRules,
  NODE_URL,
  paired,
  removed,
  revoked,
  rotated,
  rotating,
  secondsLater,
  started,
  voided,
  wrong,
} from '../../../../../test/support/node-histories.js';
import type { NodeEvent } from '../model/node.events.js';
import { planNodeAccess } from './node-access.plan.js';

const access = (history: readonly NodeEvent[], now: string) => planNodeAccess(history.reduce(nodeStreamRules.evolve, nodeStreamRules.initialState), now);
const closed = { node_id: 'n1', url: NODE_URL, reverse_port: 9082, status: 'not_enrolled_yet', tunnel_keys: [], pairing: null, accepted: [], kept: [] };

describe('access to the tunnel server', () => {
  it('is nobody by keys of their own: of an unknown node, and of one that was registered by its address or removed', () => {
    expect(access([], secondsLater(0))).toBeNull();
    expect(access([byAddress], secondsLater(0))).toBeNull();
    expect(access([started, removed], secondsLater(0))).toBeNull();
  });

  it('is granted to the holder of a code until the code expires', () => {
    const pairing = { public_key: 'ssh-ed25519 PAIRING', expires_at: secondsLater(900), until: secondsLater(900) };
    expect(access([started], secondsLater(899))).toEqual({ ...closed, pairing });
    expect(access([started, wrong], secondsLater(899))).toEqual({ ...closed, pairing });
    expect(access([started], secondsLater(900))).toEqual(closed);
  });

  it('is refused to the holder of a code that was made void or recorded as expired', () => {
    expect(access([started, voided], secondsLater(10))).toEqual(closed);
    expect(access([started, expired], secondsLater(10))).toEqual(closed);
  });

  it('is granted for another 120 s after the code is used, with the code alone: the keys wait for approval', () => {
    const pairing = { public_key: 'ssh-ed25519 PAIRING', expires_at: secondsLater(900), until: secondsLater(130) };
    expect(access([started, paired], secondsLater(129))).toEqual({ ...closed, pairing, kept: ['token'] });
    expect(access([started, paired], secondsLater(130))).toEqual({ ...closed, kept: ['token'] });
  });

  it('is granted to an enrolled node with its key and its token', () => {
    const open = { ...closed, status: 'enrolled', tunnel_keys: ['ssh-ed25519 KEY'], accepted: ['token'], kept: ['token'] };
    expect(access([started, paired, enrolled], secondsLater(30))).toEqual(open);
  });

  it('is a node with its old and its new keys while they are rotated, and with the new ones alone afterwards', () => {
    expect(access([started, paired, enrolled, rotating], secondsLater(100))).toMatchObject({
      tunnel_keys: ['ssh-ed25519 KEY', 'ssh-ed25519 NEW'],
      accepted: ['token', 'new-token'],
      kept: ['token', 'new-token'],
    });
    expect(access([started, paired, enrolled, rotating, rotated], secondsLater(101))).toMatchObject({
      tunnel_keys: ['ssh-ed25519 NEW'],
      accepted: ['new-token'],
      kept: ['new-token'],
    });
  });

  it('is nobody of a revoked node, whatever keys it had', () => {
    expect(access([started, paired, enrolled, rotating, revoked], secondsLater(200))).toEqual({ ...closed, status: 'revoked' });
  });
});
