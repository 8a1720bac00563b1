import { flag, listOf, object, oneOf, orNull, text, time, wholeNumber } from '../../lib/json-shape/json-shape.js';

export type TunnelCauseCode =
  | 'not_enrolled'
  | 'node_not_listening'
  | 'name_not_resolved'
  | 'connection_refused'
  | 'host_unreachable'
  | 'connect_timeout'
  | 'host_key_changed'
  | 'key_refused'
  | 'reverse_port_taken'
  | 'local_port_taken'
  | 'no_answer'
  | 'connection_lost'
  | 'hub_not_answering'
  | 'tool_missing'
  | 'stopped'
  | 'settings_unreadable';

export interface TunnelCause {
  readonly code: TunnelCauseCode;
  /** For humans: what is wrong and, if there is a remedy, the remedy. */
  readonly detail: string;
}

export const TUNNEL_STATES = ['connecting', 'up', 'degraded', 'down'] as const;
/**
 * `up`: all connections are established and the hub answers through each. `degraded`: some are. `down`: none is. `connecting`: none is yet, and none has failed
 * yet.
 */
export type TunnelStateName = (typeof TUNNEL_STATES)[number];

/** The state of one connection. */
export type ConnectionState =
  | { readonly kind: 'connecting' }
  /** The hub has answered through it. */
  | { readonly kind: 'up' }
  /** The connection is established and its far end answers, but the hub behind it does not. */
  | { readonly kind: 'hub_away'; readonly cause: TunnelCause }
  | { readonly kind: 'down'; readonly cause: TunnelCause };

export interface TunnelState {
  readonly state: TunnelStateName;
  /** null while it is up or connecting. */
  readonly cause: TunnelCause | null;
  readonly connections: { readonly wanted: number; readonly up: number };
}

/** One change of state, numbered in its journal. */
export interface TunnelTransition {
  readonly number: number;
  /** By the node's clock. */
  readonly at: string;
  readonly state: TunnelStateName;
  readonly cause: { readonly code: string; readonly detail: string } | null;
  readonly connections: { readonly wanted: number; readonly up: number };
}

/** The tunnel's record, which the node reports to the hub. */
export interface TunnelJournalContent {
  /** Changes when the journal was lost and restarted, so that its numbers are not confused with the old ones. */
  readonly journal_id: string;
  /** False after a clean stop. */
  readonly running: boolean;
  /** Newest last; old ones are dropped. */
  readonly transitions: readonly TunnelTransition[];
}

/** The combined state of all connections. */
export function tunnelStateOf(connections: readonly ConnectionState[]): TunnelState {
  const standing = connections.filter(({ kind }) => kind === 'up' || kind === 'hub_away').length;
  const answering = connections.filter(({ kind }) => kind === 'up').length;
  const numbers = { wanted: connections.length, up: standing };
  if (answering === connections.length) return { state: 'up', cause: null, connections: numbers };
  const cause = connections.flatMap((connection) => ('cause' in connection ? [connection.cause] : [])).at(0) ?? null;
  if (standing > 0) return { state: 'degraded', cause, connections: numbers };
  return { state: cause === null ? 'connecting' : 'down', cause, connections: numbers };
}

/** Whether a change must be reported: another state, cause code or number of connections. The text of a cause may differ each time. */
export function isNews(before: Pick<TunnelTransition, 'state' | 'cause' | 'connections'> | undefined, now: TunnelState): boolean {
  if (before === undefined) return true;
  return (
    before.state !== now.state ||
    before.cause?.code !== now.cause?.code ||
    before.connections.up !== now.connections.up ||
    before.connections.wanted !== now.connections.wanted
  );
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/**
 * The pause before the next attempt. It doubles each time, and half of it is random, so that the nodes of a returning hub do not all reconnect at once. @param
 * chance from 0 to 1
 */
export function pauseBeforeAttempt(failuresInARow: number, chance: number): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failuresInARow - 1, 16));
  return Math.round(longest / 2 + (longest / 2) * chance);
}

/** @throws WrongShapeError naming the member; SyntaxError when it is not JSON */
export function parseTunnelJournal(json: string): TunnelJournalContent {
  const members = object(JSON.parse(json), 'the journal');
  return {
    journal_id: text(members['journal_id'], 'journal_id'),
    running: flag(members['running'], 'running'),
    transitions: listOf(parseTransition)(members['transitions'], 'transitions'),
  };
}

function parseTransition(value: unknown, where: string): TunnelTransition {
  const members = object(value, where);
  const connections = object(members['connections'], `${where}.connections`);
  return {
    number: wholeNumber(members['number'], `${where}.number`),
    at: time(members['at'], `${where}.at`),
    state: oneOf(...TUNNEL_STATES)(members['state'], `${where}.state`),
    cause: orNull((cause, place) => {
      const parts = object(cause, place);
      return { code: text(parts['code'], `${place}.code`), detail: text(parts['detail'], `${place}.detail`) };
    })(members['cause'], `${where}.cause`),
    connections: { wanted: wholeNumber(connections['wanted'], `${where}.connections.wanted`), up: wholeNumber(connections['up'], `${where}.connections.up`) },
  };
}
