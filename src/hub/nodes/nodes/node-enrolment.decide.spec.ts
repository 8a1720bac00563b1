import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../test/support/given-when-then.js';
import { decideApproveNode } from './approve-node/approve-node.decide.js';
import type { NodeEvent } from './model/node.events.js';
import { evolveNode, initialNodeState } from './model/node.state.js';
import { decidePairNode } from './pair-node/pair-node.decide.js';
import { decideExpirePairing } from './publish-node-access/expire-pairing.decide.js';
import { planNodeAccess } from './publish-node-access/node-access.plan.js';
import { decideRegisterLocalNode } from './register-local-node/register-local-node.decide.js';
import { decideRegisterNode } from './register-node/register-node.decide.js';
import { decideRemoveNode } from './remove-node/remove-node.decide.js';
import { decideRotateKeys } from './rotate-keys/rotate-keys.decide.js';
import { decideStartEnrolment } from './start-enrolment/start-enrolment.decide.js';

const stream = { initialState: initialNodeState, evolve: evolveNode };
const at = (seconds: number): string => new Date(Date.UTC(2026, 10, 21, 10, 0, seconds)).toISOString();
const offer = {
  node_id: 'n1',
  name: 'rack-1',
  reverse_port: 9082,
  pairing_public_key: 'ssh-ed25519 PAIRING',
  proof_sha256: 'p',
  expires_at: at(900),
  started_at: at(0),
};
const paired = {
  public_key: 'ssh-ed25519 KEY',
  public_key_fingerprint: 'SHA256:key',
  token_sha256: 'token',
  host: { hostname: 'h', version: '0.1.0' },
  paired_at: at(10),
};
const next = { rotation_id: 'r1', public_key: 'ssh-ed25519 NEW', public_key_fingerprint: 'SHA256:new', token_sha256: 'new-token', started_at: at(100) };
const url = 'http://127.0.0.1:9082';

const started: NodeEvent = { type: 'NodeEnrolmentStarted', data: offer };
const wrong: NodeEvent = { type: 'NodePairingFailed', data: { code: 'wrong_proof', detail: 'd', failed_at: at(5) } };
const voided: NodeEvent = { type: 'NodePairingFailed', data: { code: 'too_many_attempts', detail: 'd', failed_at: at(6) } };
const expired: NodeEvent = { type: 'NodePairingFailed', data: { code: 'expired', detail: 'd', failed_at: at(900) } };
const pairedEvent: NodeEvent = { type: 'NodePaired', data: paired };
const enrolled: NodeEvent = { type: 'NodeEnrolled', data: { url, public_key_fingerprint: 'SHA256:key', enrolled_at: at(20) } };
const rotating: NodeEvent = { type: 'NodeKeyRotationStarted', data: next };
const rotated: NodeEvent = { type: 'NodeKeyRotated', data: { rotation_id: 'r1', public_key_fingerprint: 'SHA256:new', rotated_at: at(101) } };
const revoked: NodeEvent = { type: 'NodeRevoked', data: { revoked_at: at(200) } };
const removed: NodeEvent = { type: 'NodeRemoved', data: { removed_at: at(200) } };
const byAddress: NodeEvent = { type: 'NodeRegistered', data: { node_id: 'n1', name: 'rack-1', url, registered_at: at(0) } };

describe('starting an enrolment', () => {
  const { given } = specificationOf({ ...stream, decide: decideStartEnrolment });
  const command = { offer, name_holder: null };

  it('is possible with a free name, and again for a node that was revoked, was removed or did not pair', () => {
    given().when(command).then(started);
    given(started, expired).when(command).then(started);
    given(started, voided).when(command).then(started);
    given(started, pairedEvent, enrolled, revoked).when(command).then(started);
    given(started, removed).when(command).then(started);
  });

  it('is refused for a name that is taken, and while the node has a valid or used code', () => {
    given()
      .when({ ...command, name_holder: 'n2' })
      .thenRefused('node_name_taken');
    given(started).when(command).thenRefused('node_name_taken');
    given(started, pairedEvent).when(command).thenRefused('node_name_taken');
    given(started, pairedEvent, enrolled).when(command).thenRefused('node_name_taken');
    given(byAddress).when(command).thenRefused('node_name_taken');
  });
});

describe('pairing', () => {
  const { given } = specificationOf({ ...stream, decide: decidePairNode });
  const command = { node_id: 'n1', proof_holds: true, paired };
  const later = (seconds: number) => ({ ...command, paired: { ...paired, paired_at: at(seconds) } });

  it('uses the code, even after wrong ones', () => {
    given(started).when(command).then(pairedEvent);
    given(started, wrong, wrong, wrong, wrong).when(command).then(pairedEvent);
  });

  it('records every wrong code, and voids the right one at the fifth', () => {
    const attempt = { ...command, proof_holds: false };
    given(started).when(attempt).thenTypes('NodePairingFailed');
    given(started, wrong, wrong, wrong, wrong)
      .when(attempt)
      .then({
        type: 'NodePairingFailed',
        data: { code: 'too_many_attempts', detail: 'A wrong pairing code was tried (attempt 5 of 5).', failed_at: at(10) },
      });
    given(started, wrong, wrong, wrong, wrong, voided).when(command).thenRefused('pairing_code_void');
  });

  it('is too late once the code has expired', () => {
    given(started).when(later(899)).thenTypes('NodePaired');
    given(started)
      .when(later(900))
      .then({ type: 'NodePairingFailed', data: { code: 'expired', detail: `The code expired at ${at(900)}.`, failed_at: at(900) } });
    given(started, expired).when(later(901)).thenRefused('pairing_code_expired');
  });

  it('can be repeated for a while with the same key and token only', () => {
    given(started, pairedEvent).when(later(130)).then();
    given(started, pairedEvent).when(later(131)).thenRefused('pairing_code_used');
    given(started, pairedEvent)
      .when({ ...command, paired: { ...paired, public_key: 'ssh-ed25519 THIEF' } })
      .thenRefused('pairing_code_used');
    given(started, pairedEvent)
      .when({ ...command, paired: { ...paired, token_sha256: 'thief' } })
      .thenRefused('pairing_code_used');
    given(started, pairedEvent)
      .when({ ...command, proof_holds: false })
      .thenRefused('pairing_code_used');
  });

  it('is refused where no code was issued', () => {
    given().when(command).thenRefused('pairing_refused');
    given(started, removed).when(command).thenRefused('pairing_refused');
    given(started, pairedEvent, enrolled, revoked).when(command).thenRefused('pairing_refused');
    given(started, pairedEvent, enrolled).when(command).thenRefused('pairing_code_used');
    given(byAddress).when(command).thenRefused('pairing_code_used');
  });
});

describe('an unused code', () => {
  const { given } = specificationOf({ ...stream, decide: decideExpirePairing });

  it('is recorded once when it has expired', () => {
    given(started)
      .when({ now: at(899) })
      .then();
    given(started)
      .when({ now: at(900) })
      .thenTypes('NodePairingFailed');
    given(started, expired)
      .when({ now: at(901) })
      .then();
    given(started, pairedEvent)
      .when({ now: at(901) })
      .then();
  });
});

describe('approving a node', () => {
  const { given } = specificationOf({ ...stream, decide: decideApproveNode });
  const command = { node_id: 'n1', public_key_fingerprint: 'SHA256:key', now: at(20) };

  it('makes the submitted key valid, once', () => {
    given(started, pairedEvent).when(command).then(enrolled);
    given(started, pairedEvent, enrolled).when(command).then();
  });

  it('is refused for another key, and where none was submitted', () => {
    given(started, pairedEvent)
      .when({ ...command, public_key_fingerprint: 'SHA256:other' })
      .thenRefused('fingerprint_mismatch');
    given(started).when(command).thenRefused('node_not_paired');
    given(byAddress).when(command).thenRefused('node_not_paired');
    given().when(command).thenRefused('node_not_found');
    given(started, pairedEvent, enrolled, revoked).when(command).thenRefused('node_not_paired');
  });
});

describe('rotating keys', () => {
  const { given } = specificationOf({ ...stream, decide: decideRotateKeys });
  const start = { node_id: 'n1', step: { kind: 'start' as const, data: next } };
  const inUse = { node_id: 'n1', step: { kind: 'in_use' as const, rotation_id: 'r1', token_sha256: 'new-token', now: at(101) } };

  it('starts once, and ends when the new token is seen', () => {
    given(started, pairedEvent, enrolled).when(start).then(rotating);
    given(started, pairedEvent, enrolled, rotating).when(start).then();
    given(started, pairedEvent, enrolled, rotating).when(inUse).then(rotated);
    given(started, pairedEvent, enrolled, rotating, rotated).when(inUse).then();
  });

  it('does not end with the old token, nor with another rotation', () => {
    given(started, pairedEvent, enrolled, rotating)
      .when({ ...inUse, step: { ...inUse.step, token_sha256: 'token' } })
      .thenRefused('token_not_of_rotation');
    given(started, pairedEvent, enrolled, rotating)
      .when({ ...inUse, step: { ...inUse.step, rotation_id: 'r0' } })
      .thenRefused('rotation_not_found');
    given(started, pairedEvent, enrolled).when(inUse).thenRefused('rotation_not_found');
  });

  it('is refused for nodes without keys of their own', () => {
    given().when(start).thenRefused('node_not_found');
    given(byAddress).when(start).thenRefused('node_not_enrolled');
    given(started, pairedEvent).when(start).thenRefused('node_not_enrolled');
    given(started, pairedEvent, enrolled, revoked).when(start).thenRefused('node_revoked');
  });
});

describe('removing an enrolled node', () => {
  const { given } = specificationOf({ ...stream, decide: decideRemoveNode });
  const command = { node_id: 'n1', vm_names: [], removed_at: at(200) };
  const withVms = { ...command, vm_names: ['web1'] };

  it('revokes it, and forgets it when nothing refers to it', () => {
    given(started, pairedEvent, enrolled).when(command).then(revoked, removed);
    given(started, pairedEvent, enrolled).when(withVms).then(revoked);
    given(started, pairedEvent, enrolled, rotating).when(withVms).then(revoked);
    given(started, pairedEvent, enrolled, revoked).when(command).then(removed);
    given(started, pairedEvent, enrolled, revoked).when(withVms).thenRefused('node_in_use');
  });

  it('withdraws a code and a pairing', () => {
    given(started).when(command).then(removed);
    given(started, pairedEvent).when(command).then(removed);
    given(started, pairedEvent, enrolled, revoked, started).when(withVms).then(revoked);
    given(started, pairedEvent, enrolled, revoked, started, pairedEvent).when(withVms).then(revoked);
  });
});

describe('an enrolled node', () => {
  it('is not also registered by an address, and the local node does not replace it', () => {
    const { given } = specificationOf({ ...stream, decide: decideRegisterNode });
    const node = { node_id: 'n1', name: 'x', url, registered_at: at(0) };
    for (const history of [[started], [started, pairedEvent], [started, pairedEvent, enrolled], [started, pairedEvent, enrolled, revoked]]) {
      given(...history)
        .when({ node, name_holder: null })
        .thenRefused('node_already_registered');
      specificationOf({ ...stream, decide: decideRegisterLocalNode })
        .given(...history)
        .when({ node_id: 'n1', name: 'local', url: 'http://127.0.0.1:9081', now: at(0) })
        .thenRefused('node_enrolled_elsewhere');
    }
  });
});

describe('the access of a node', () => {
  const access = (events: readonly NodeEvent[], now: string) => planNodeAccess(events.reduce(evolveNode, initialNodeState), now);
  const none = { tunnel_keys: [], accepted: [], pairing: null };

  it('is empty for a node that is unknown or was registered by its address', () => {
    expect(access([], at(0))).toBeNull();
    expect(access([byAddress], at(0))).toBeNull();
    expect(access([started, removed], at(0))).toBeNull();
  });

  it('includes the key of a code while it can be used, and a little longer', () => {
    const pairing = { public_key: 'ssh-ed25519 PAIRING', expires_at: at(900), until: at(900) };
    expect(access([started], at(899))).toMatchObject({ ...none, status: 'not_enrolled_yet', pairing });
    expect(access([started], at(900))).toMatchObject(none);
    expect(access([started, voided], at(10))).toMatchObject(none);
    expect(access([started, pairedEvent], at(129))).toMatchObject({ ...none, pairing: { expires_at: at(900), until: at(130) }, kept: ['token'] });
    expect(access([started, pairedEvent], at(130))).toMatchObject({ ...none, kept: ['token'] });
  });

  it('includes the key and token of an enrolled node, and both old and new ones during a rotation', () => {
    expect(access([started, pairedEvent, enrolled], at(30))).toMatchObject({
      status: 'enrolled',
      url,
      tunnel_keys: ['ssh-ed25519 KEY'],
      accepted: ['token'],
      pairing: null,
    });
    expect(access([started, pairedEvent, enrolled, rotating], at(100))).toMatchObject({
      tunnel_keys: ['ssh-ed25519 KEY', 'ssh-ed25519 NEW'],
      accepted: ['token', 'new-token'],
    });
    expect(access([started, pairedEvent, enrolled, rotating, rotated], at(101))).toMatchObject({ tunnel_keys: ['ssh-ed25519 NEW'], accepted: ['new-token'] });
  });

  it('is empty for a revoked node', () => {
    expect(access([started, pairedEvent, enrolled, rotating, revoked], at(200))).toMatchObject({ ...none, status: 'revoked', kept: [] });
  });
});
