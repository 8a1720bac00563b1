import { describe, expect, it } from '@jest/globals';
import type { TunnelCauseCode } from '../interface/tunnel-state.plan.js';
import { afterAnswer, afterEnd, FIRST_HUB, type HubChoice } from './hub-choice.plan.js';

/** The hubs that are tried one after the other, when connections end with these causes a second apart. */
function tried(from: HubChoice, ...causes: readonly TunnelCauseCode[]): readonly number[] {
  let choice = from;
  return causes.map((code, second) => {
    choice = afterEnd(choice, code, 2, second * 1_000);
    return choice.current;
  });
}

describe('the choice between two hubs', () => {
  it('goes to the other one when a hub does not answer', () => {
    expect(tried(FIRST_HUB, 'hub_not_answering', 'connect_timeout', 'connection_lost')).toEqual([1, 0, 1]);
  });

  it('leaves a standby at once while the other one may be active', () => {
    expect(tried(FIRST_HUB, 'key_refused')).toEqual([1]);
  });

  it('changes between two that both refuse', () => {
    expect(tried(FIRST_HUB, 'key_refused', 'key_refused', 'key_refused')).toEqual([1, 0, 1]);
  });

  it('waits for a standby when the other one is gone, and looks there after 15 s', () => {
    const refusals = Array<TunnelCauseCode>(16).fill('key_refused');
    expect(tried(FIRST_HUB, 'no_answer', ...refusals)).toEqual([...Array<number>(16).fill(1), 0]);
  });

  it('forgets what failed before once a hub has answered', () => {
    const gone = afterEnd(FIRST_HUB, 'no_answer', 2, 0);
    expect(tried(afterAnswer(gone), 'key_refused')).toEqual([0]);
  });
});
