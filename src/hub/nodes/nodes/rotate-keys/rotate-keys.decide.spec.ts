import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import {
  byAddress,
  enrolled,
  nodeStreamRules,
  paired,
  removed,
  revoked,
  rotated,
  rotating,
  rotation,
  secondsLater,
  started,
} from '../../../../../test/support/node-histories.js';
import { decideRotateKeys } from './rotate-keys.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideRotateKeys });
const start = { node_id: 'n1', step: { kind: 'start' as const, data: rotation } };
const inUse = { node_id: 'n1', step: { kind: 'in_use' as const, rotation_id: 'r1', token_sha256: 'new-token', now: secondsLater(101) } };

describe('rotating keys', () => {
  it('begins once: one that is under way goes on with the keys that it began with', () => {
    given(started, paired, enrolled).when(start).then(rotating);
    given(started, paired, enrolled, rotating)
      .when({ ...start, step: { kind: 'start', data: { ...rotation, rotation_id: 'r2', token_sha256: 'other' } } })
      .then();
  });

  it('may begin again after one has ended', () => {
    given(started, paired, enrolled, rotating, rotated).when(start).thenTypes('NodeKeyRotationStarted');
  });

  it('ends when the new token was seen in use, once', () => {
    given(started, paired, enrolled, rotating).when(inUse).then(rotated);
    given(started, paired, enrolled, rotating, rotated).when(inUse).then();
  });

  it('is not ended by a call that the old token signed', () => {
    given(started, paired, enrolled, rotating)
      .when({ ...inUse, step: { ...inUse.step, token_sha256: 'token' } })
      .thenRefused('token_not_of_rotation', { node_id: 'n1' });
  });

  it('is not ended by the word about another rotation, or about none', () => {
    given(started, paired, enrolled, rotating)
      .when({ ...inUse, step: { ...inUse.step, rotation_id: 'r0' } })
      .thenRefused('rotation_not_found', { node_id: 'n1' });
    given(started, paired, enrolled).when(inUse).thenRefused('rotation_not_found', { node_id: 'n1' });
    given(started, paired, enrolled, rotating, rotated)
      .when({ ...inUse, step: { ...inUse.step, token_sha256: 'token' } })
      .thenRefused('rotation_not_found', { node_id: 'n1' });
  });

  it('is refused for nodes without keys of their own', () => {
    for (const command of [start, inUse]) {
      given().when(command).thenRefused('node_not_found', { node_id: 'n1' });
      given(started, removed).when(command).thenRefused('node_not_found', { node_id: 'n1' });
      given(byAddress).when(command).thenRefused('node_not_enrolled', { node_id: 'n1' });
      given(started, paired).when(command).thenRefused('node_not_enrolled', { node_id: 'n1' });
      given(started, paired, enrolled, revoked).when(command).thenRefused('node_revoked', { node_id: 'n1' });
    }
  });
});
