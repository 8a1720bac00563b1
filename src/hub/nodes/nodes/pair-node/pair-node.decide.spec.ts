import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import {
  byAddress,
  enrolled,
  expired,
  nodeStreamRules,
  paired,
  pairing,
  removed,
  revoked,
  secondsLater,
  started,
  voided,
  wrong,
} from '../../../../../test/support/node-histories.js';
import { decidePairNode, pairingRefused, worthless } from './pair-node.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decidePairNode });
const command = { node_id: 'n1', proof_holds: true, paired: pairing };
const withWrongProof = { ...command, proof_holds: false };
const after = (seconds: number) => ({ ...command, paired: { ...pairing, paired_at: secondsLater(seconds) } });

describe('pairing', () => {
  it('uses the code, also after four wrong ones', () => {
    given(started).when(command).then(paired);
    given(started, wrong, wrong, wrong, wrong).when(command).then(paired);
  });

  it('records every wrong code with its number, and makes the right one void at the fifth', () => {
    const failure = (attempt: number, code: 'wrong_proof' | 'too_many_attempts') => ({
      type: 'NodePairingFailed' as const,
      data: { code, detail: `A wrong pairing code was tried (attempt ${attempt} of 5).`, failed_at: secondsLater(10) },
    });
    given(started).when(withWrongProof).then(failure(1, 'wrong_proof'));
    given(started, wrong, wrong, wrong).when(withWrongProof).then(failure(4, 'wrong_proof'));
    given(started, wrong, wrong, wrong, wrong).when(withWrongProof).then(failure(5, 'too_many_attempts'));
  });

  it('is refused with a code that was made void, whether it is right or wrong', () => {
    given(started, wrong, wrong, wrong, wrong, voided).when(command).thenRefused('pairing_code_void', { node_id: 'n1' });
    given(started, wrong, wrong, wrong, wrong, voided).when(withWrongProof).thenRefused('pairing_code_void', { node_id: 'n1' });
  });

  it('comes too late from the instant on at which the code expires', () => {
    given(started).when(after(899)).thenTypes('NodePaired');
    given(started)
      .when(after(900))
      .then({ type: 'NodePairingFailed', data: { code: 'expired', detail: `The code expired at ${secondsLater(900)}.`, failed_at: secondsLater(900) } });
    given(started, expired).when(after(901)).thenRefused('pairing_code_expired', { node_id: 'n1' });
  });

  it('counts no attempt at a code that has expired', () => {
    given(started, wrong, wrong, wrong, wrong)
      .when({ ...after(900), proof_holds: false })
      .then({ type: 'NodePairingFailed', data: { code: 'expired', detail: `The code expired at ${secondsLater(900)}.`, failed_at: secondsLater(900) } });
  });

  it('is answered again for 120 s, to the same key and token alone', () => {
    given(started, paired).when(after(130)).then();
    given(started, paired).when(after(131)).thenRefused('pairing_code_used', { node_id: 'n1' });
    for (const thief of [{ public_key: 'ssh-ed25519 THIEF' }, { token_sha256: 'thief' }]) {
      given(started, paired)
        .when({ ...command, paired: { ...pairing, ...thief } })
        .thenRefused('pairing_code_used');
    }
    given(started, paired).when(withWrongProof).thenRefused('pairing_code_used');
  });

  it('is refused for a node that is already admitted', () => {
    given(started, paired, enrolled).when(command).thenRefused('pairing_code_used', { node_id: 'n1' });
    given(byAddress).when(command).thenRefused('pairing_code_used', { node_id: 'n1' });
  });

  it('is refused where no code is out, without a hint whether there is such a node', () => {
    for (const history of [[], [started, removed], [started, paired, enrolled, revoked]]) {
      given(...history)
        .when(command)
        .thenRefused('pairing_refused', {});
    }
  });
});

describe('a code that is worth nothing any more', () => {
  it('is refused in the words for its cause; one that is merely wrong like an unknown one', () => {
    expect(worthless('n1', 'wrong_proof')).toEqual(pairingRefused());
    expect(pairingRefused()).toMatchObject({ kind: 'unauthenticated', code: 'pairing_refused', facts: {} });
    expect(worthless('n1', 'expired')).toMatchObject({ kind: 'gone', code: 'pairing_code_expired', facts: { node_id: 'n1' } });
    expect(worthless('n1', 'too_many_attempts')).toMatchObject({ kind: 'gone', code: 'pairing_code_void', facts: { node_id: 'n1' } });
  });
});
