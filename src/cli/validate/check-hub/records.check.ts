import type { AuditEvent, Projection, StoredEvent } from '../../api/answers.js';
import type { HubApi } from '../../api/hub-api.client.js';
import { type Check, fail, pass, warn } from '../model/check.plan.js';

const LAG_SECONDS = 10;

/** The event store and its read models. The trial backup shows whether the store accepts new events. */
export function recordsChecks(hub: HubApi): readonly Check[] {
  return [
    {
      id: 'event_store',
      role: 'hub',
      title: 'event store',
      run: async () => {
        const [newest] = (await hub.call<{ events: AuditEvent[] }>('GET', '/audit/events?limit=1')).events;
        if (newest === undefined) return pass('it is empty');
        const { events } = await hub.call<{ events: StoredEvent[] }>('GET', `/audit/streams/${encodeURIComponent(newest.stream)}?limit=1000`);
        if (events.length > 0) return pass(`its newest event is ${newest.type} at ${newest.position.replace(/^0+/, '')}, and its stream can be read`);
        return fail(`the stream ${newest.stream} of its newest event is empty`, 'Restore the database from its last dump; events were removed.');
      },
    },
    {
      id: 'projections',
      role: 'hub',
      title: 'read models follow the events',
      run: async () => {
        const { projections } = await hub.call<{ projections: Projection[] }>('GET', '/projections');
        const halted = projections.filter((projection) => projection.halted !== null);
        if (halted.length > 0) {
          const text = halted.map(({ name, halted: at }) => `${name} has halted at ${at?.position ?? ''}: ${at?.error ?? ''}`).join('; ');
          return fail(text, 'Update the hub to the version that wrote these events, or rebuild the read model: POST /projections/{name}/rebuild.');
        }
        const late = projections.filter(({ state, lag_seconds }) => state !== 'live' || lag_seconds > LAG_SECONDS);
        if (late.length === 0) return pass(`${projections.length} read models are at the newest event`);
        const text = late.map(({ name, state, lag_seconds }) => `${name} is ${state}, ${Math.round(lag_seconds)} s behind`).join('; ');
        return warn(text, "Check again in a minute; if this persists, check the hub's log and the load of the database.");
      },
    },
  ];
}
