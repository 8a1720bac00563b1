import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import {
  byAddress,
  enrolled,
  expired,
  nodeStreamRules,
  paired,
  removed,
  revoked,
  rotated,
  rotating,
  secondsLater,
  started,
} from '../../../../../test/support/node-histories.js';
import { decideApproveNode } from './approve-node.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideApproveNode });
const command = { node_id: 'n1', public_key_fingerprint: 'SHA256:key', now: secondsLater(20) };

describe('approving a node', () => {
  it('lets the key in that was shown, once', () => {
    given(started, paired).when(command).then(enrolled);
    given(started, paired, enrolled).when(command).then();
  });

  it('is refused for another key than the one that was shown, and names the one that was', () => {
    for (const history of [
      [started, paired],
      [started, paired, enrolled],
    ]) {
      given(...history)
        .when({ ...command, public_key_fingerprint: 'SHA256:other' })
        .thenRefused('fingerprint_mismatch', { node_id: 'n1', public_key_fingerprint: 'SHA256:key' });
    }
  });

  it('is about the key that counts now: not about one that waits to be seen in use, nor about one that was replaced', () => {
    given(started, paired, enrolled, rotating)
      .when({ ...command, public_key_fingerprint: 'SHA256:new' })
      .thenRefused('fingerprint_mismatch');
    given(started, paired, enrolled, rotating, rotated)
      .when(command)
      .thenRefused('fingerprint_mismatch', { node_id: 'n1', public_key_fingerprint: 'SHA256:new' });
  });

  it('is refused where no key was shown, or the one that was counts no more', () => {
    for (const history of [[started], [started, expired], [byAddress], [started, paired, enrolled, revoked]]) {
      given(...history)
        .when(command)
        .thenRefused('node_not_paired', { node_id: 'n1' });
    }
  });

  it('is refused where there is no node', () => {
    given().when(command).thenRefused('node_not_found', { node_id: 'n1' });
    given(started, paired, removed).when(command).thenRefused('node_not_found', { node_id: 'n1' });
  });
});
