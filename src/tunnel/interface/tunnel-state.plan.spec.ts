import { describe, expect, it } from '@jest/globals';
import {
  type ConnectionState,
  isNews,
  parseTunnelJournal,
  pauseBeforeAttempt,
  type TunnelCause,
  type TunnelJournalContent,
  tunnelStateOf,
  type TunnelState,
} from './tunnel-state.plan.js';

const refused: TunnelCause = { code: 'connection_refused', detail: 'Nothing listens.' };
const away: TunnelCause = { code: 'hub_not_answering', detail: 'No answer.' };
const up: ConnectionState = { kind: 'up' };
const connecting: ConnectionState = { kind: 'connecting' };
const hubAway: ConnectionState = { kind: 'hub_away', cause: away };
const down: ConnectionState = { kind: 'down', cause: refused };

describe('the state of a tunnel', () => {
  it.each([
    ['up when the hub answers through all connections', [up, up], { state: 'up', cause: null, connections: { wanted: 2, up: 2 } }],
    ['degraded when one of them is down', [up, down], { state: 'degraded', cause: refused, connections: { wanted: 2, up: 1 } }],
    ['degraded when one of them is not there yet', [up, connecting], { state: 'degraded', cause: null, connections: { wanted: 2, up: 1 } }],
    ['degraded when all stand and the hub does not answer', [hubAway, hubAway], { state: 'degraded', cause: away, connections: { wanted: 2, up: 2 } }],
    ['down when none stands', [down, down], { state: 'down', cause: refused, connections: { wanted: 2, up: 0 } }],
    ['down when the only one that was tried has failed', [connecting, down], { state: 'down', cause: refused, connections: { wanted: 2, up: 0 } }],
    ['connecting while none stands and none has failed', [connecting, connecting], { state: 'connecting', cause: null, connections: { wanted: 2, up: 0 } }],
    ['caused by the first connection that has a cause', [up, hubAway, down], { state: 'degraded', cause: away, connections: { wanted: 3, up: 2 } }],
  ] as const)('is %s', (_what, connections, expected) => {
    expect(tunnelStateOf(connections)).toEqual(expected);
  });
});

describe('a change of a tunnel', () => {
  const before = { state: 'degraded', cause: refused, connections: { wanted: 2, up: 1 } } as const;

  it('is news when it is the first one', () => {
    expect(isNews(undefined, before)).toBe(true);
  });

  it.each<[string, Partial<TunnelState>]>([
    ['state', { state: 'down' }],
    ['cause', { cause: away }],
    ['end of a cause', { cause: null }],
    ['number of connections', { connections: { wanted: 2, up: 2 } }],
    ['number of connections that are wanted', { connections: { wanted: 3, up: 1 } }],
  ])('is news with another %s', (_what, change) => {
    expect(isNews(before, { ...before, ...change })).toBe(true);
  });

  it('is no news when only the words of its cause differ', () => {
    expect(isNews(before, { ...before, cause: { ...refused, detail: 'Nothing listens there.' } })).toBe(false);
    expect(isNews({ ...before, cause: null }, { ...before, cause: null })).toBe(false);
  });
});

describe('the pause before an attempt to connect', () => {
  it.each([
    [1, 250, 500],
    [2, 500, 1_000],
    [3, 1_000, 2_000],
    [6, 8_000, 16_000],
    [7, 15_000, 30_000],
    [8, 15_000, 30_000],
    [5_000, 15_000, 30_000],
  ])('after %d failures is from %d to %d ms', (failures, shortest, longest) => {
    expect(pauseBeforeAttempt(failures, 0)).toBe(shortest);
    expect(pauseBeforeAttempt(failures, 1)).toBe(longest);
    expect(pauseBeforeAttempt(failures, 0.5)).toBe((shortest + longest) / 2);
  });
});

describe('the journal of a tunnel', () => {
  const journal: TunnelJournalContent = {
    journal_id: 'a',
    running: true,
    transitions: [
      { number: 1, at: '2026-11-21T10:00:00.000Z', state: 'down', cause: refused, connections: { wanted: 2, up: 0 } },
      { number: 2, at: '2026-11-21T10:00:05.000Z', state: 'up', cause: null, connections: { wanted: 2, up: 2 } },
    ],
  };
  const [first] = journal.transitions;

  it('is read as it was written', () => {
    expect(parseTunnelJournal(JSON.stringify(journal))).toEqual(journal);
  });

  it.each([
    ['no id', { ...journal, journal_id: undefined }, 'journal_id'],
    ['no word whether it is still written', { ...journal, running: 'yes' }, 'running'],
    ['a state that there is not', { ...journal, transitions: [{ ...first, state: 'sideways' }] }, 'state'],
    ['a number that is none', { ...journal, transitions: [{ ...first, number: 1.5 }] }, 'number'],
    ['a time that is none', { ...journal, transitions: [{ ...first, at: 'noon' }] }, 'at'],
    ['a cause without a code', { ...journal, transitions: [{ ...first, cause: { detail: 'd' } }] }, 'code'],
    ['no connections', { ...journal, transitions: [{ ...first, connections: null }] }, 'connections'],
  ])('is refused with %s, naming the place', (_what, content, place) => {
    expect(() => parseTunnelJournal(JSON.stringify(content))).toThrow(
      expect.objectContaining({ name: 'WrongShapeError', message: expect.stringContaining(place) }),
    );
  });

  it('is refused when it was cut off', () => {
    expect(() => parseTunnelJournal(JSON.stringify(journal).slice(0, -1))).toThrow(SyntaxError);
  });
});
