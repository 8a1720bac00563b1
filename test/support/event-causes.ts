import { expect } from '@jest/globals';
import type { AuditEventResponse } from '../../src/hub/history/audit/audit-event.response.js';
import type { HubSystem } from './hub-system.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ACTOR = /^(?:api:.+|node:[0-9a-f-]{36}|system:[a-z-]+)$/;
/** Parts of the hub that act without having been asked. All others act on behalf of a request, whose correlation they carry. */
const ACTS_UNASKED = ['chain-guard', 'clean-up-nodes', 'local-node', 'measure-capacity', 'node-access', 'refusals', 'watch-nodes'].map(
  (part) => `system:${part}`,
);
/** What a node reports on itself. */
const OF_THE_NODE = ['node', 'vm'];

/** @param events of a whole store, oldest first @returns a line for each that does not lead to a command and an actor */
export function unexplained(events: readonly AuditEventResponse[]): readonly string[] {
  const commands = new Map<string, string>();
  const requests = new Map<string, AuditEventResponse>();
  const streams = new Map<string, string>();
  return events.flatMap((event) => {
    const { position, stream, category, type, actor, correlation_id, causation_id } = event;
    const command = `${actor} ${correlation_id}`;
    const ofCommand = commands.get(causation_id) ?? command;
    const request = requests.get(correlation_id) ?? event;
    const ofStream = streams.get(stream) ?? correlation_id;
    commands.set(causation_id, ofCommand);
    requests.set(correlation_id, request);
    streams.set(stream, ofStream);
    const problems = [
      ...(UUID.test(correlation_id) && UUID.test(causation_id) ? [] : ['it has no command']),
      ...(ACTOR.test(actor) ? [] : [`"${actor}" is no actor`]),
      ...(ofCommand === command ? [] : [`its command is also that of ${ofCommand}`]),
      ...(actor.startsWith('system:') && !ACTS_UNASKED.includes(actor) && request.actor === actor ? [`${actor} acts for no request`] : []),
      ...(actor.startsWith('node:') && !OF_THE_NODE.includes(category) && ofStream !== correlation_id ? ['the node reports in another correlation'] : []),
    ];
    return problems.map((problem) => `${position} ${type} of ${stream}: ${problem}`);
  });
}

/** Fails if an event of the hub's store does not lead to a command and an actor, or if one of these types is missing. */
export async function requireCauses(system: HubSystem, types: readonly string[]): Promise<void> {
  const events: AuditEventResponse[] = [];
  for (let cursor = ''; ;) {
    const path = `/audit/events?order=oldest_first&limit=1000${cursor === '' ? '' : `&cursor=${cursor}`}`;
    const { body } = await system.api<{ events: AuditEventResponse[]; next_cursor: string | null }>('GET', path);
    events.push(...body.events);
    if (body.next_cursor === null) break;
    cursor = body.next_cursor;
  }
  expect(unexplained(events)).toEqual([]);
  expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining([...types]));
}
