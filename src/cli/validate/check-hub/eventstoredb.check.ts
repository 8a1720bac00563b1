import { messageOf } from '../../../kernel/error-message.js';
import type { HubConfig } from '../../../hub/hub.config.js';
import { type Check, fail, type Verdict, warn, worst } from '../model/check.plan.js';

/** The server computes time limits of calls from the hub's clock. */
const SKEW_SECONDS = 2;

/** Only for a hub whose events are in EventStoreDB. */
export function eventStoreDbCheck({ eventstoredbUrl, eventstoredbCaFile }: HubConfig): Check {
  return {
    id: 'eventstoredb',
    role: 'hub',
    title: 'EventStoreDB',
    run: async () => {
      // Loaded on demand: a node's release has no database client.
      const { inspectEventStoreDb, isTooOld } = await import('../../../hub/main.database.js');
      try {
        const { name, version, clockAheadSeconds } = await inspectEventStoreDb({ url: eventstoredbUrl ?? '', caFile: eventstoredbCaFile });
        const found: Verdict[] = [];
        if (isTooOld(version)) found.push(fail(`version ${version} is too old`, 'Upgrade EventStoreDB to 23.10 or newer.'));
        if (clockAheadSeconds !== null && Math.abs(clockAheadSeconds) > SKEW_SECONDS) {
          const seconds = Math.abs(clockAheadSeconds);
          found.push(
            warn(
              `its clock is ${seconds} s ${clockAheadSeconds > 0 ? 'ahead of' : 'behind'} this machine's`,
              'Synchronise both clocks, for example with chrony.',
            ),
          );
        }
        return worst(found, `EventStoreDB ${version} at ${name}`);
      } catch (error) {
        return fail(
          `it cannot be used: ${messageOf(error)}`,
          'Start EventStoreDB, and check eventstoredb_url and eventstoredb_ca_file; see docs/eventstoredb.md.',
        );
      }
    },
  };
}
