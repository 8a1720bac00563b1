import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { expired, nodeStreamRules, paired, removed, secondsLater, started, voided, wrong } from '../../../../../test/support/node-histories.js';
import { decideExpirePairing } from './expire-pairing.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideExpirePairing });

describe('a code that nobody uses', () => {
  it('expires at the instant that it was given out for, not before', () => {
    given(started)
      .when({ now: secondsLater(899) })
      .then();
    given(started, wrong)
      .when({ now: secondsLater(900) })
      .then({
        type: 'NodePairingFailed',
        data: { code: 'expired', detail: `The code was not used by ${secondsLater(900)}.`, failed_at: secondsLater(900) },
      });
  });

  it('is not recorded as expired when it has expired before, was made void, was used, or its node is gone', () => {
    for (const history of [[], [started, expired], [started, voided], [started, paired], [started, removed]]) {
      given(...history)
        .when({ now: secondsLater(901) })
        .then();
    }
  });
});
