import { join } from 'node:path';
import { messageOf } from '../../../kernel/error-message.js';
import type { HubConfig } from '../../../hub/hub.config.js';
import type { DatabaseFacts } from '../../../hub/main.database.js';
import { bytesText } from '../../../kernel/bytes-text.js';
import { clockVerdict } from '../model/clock-skew.plan.js';
import { type Check, fail, type Verdict, warn, worst } from '../model/check.plan.js';

/** The version that all tests used. */
const TRIED_FROM = 18;
/** For one hub, its node's watch and this check, with room for pg_dump. */
const CONNECTIONS_NEEDED = 30;

export function databaseCheck(config: HubConfig): Check {
  return {
    id: 'database',
    role: 'hub',
    title: 'database',
    run: async () => {
      // Loaded on demand: a node's release has no database client.
      const { inspectDatabase, localDatabaseUrl, missingEvents } = await import('../../../hub/main.database.js');
      const url = config.databaseUrl ?? (await localDatabaseUrl(join(config.dataDirectory, 'postgres')));
      if (url === null) return fail(`the hub has not created its database in ${config.dataDirectory} yet`, 'Start the hub once, or set database_url.');
      let facts: DatabaseFacts;
      let missing: string | null;
      try {
        facts = await inspectDatabase(url);
        missing = await missingEvents(url);
      } catch (error) {
        const remedy =
          config.databaseUrl === null
            ? `Start the hub, which starts PostgreSQL; ${join(config.dataDirectory, 'postgres', 'postgres.log')} says why it is not running.`
            : 'Start PostgreSQL, and check that DATABASE_URL names an existing database and a user with access to it.';
        return fail(`it cannot be used: ${messageOf(error)}`, remedy);
      }
      const free = Number(facts.settings.get('max_connections') ?? 0) - facts.connections;
      const found = [...findings(facts, free)];
      if (missing !== null)
        found.push(fail(missing, 'Events were deleted. Restore the database from an earlier dump, and find out who had write access to it.'));
      if (facts.mayChangeEvents) {
        const remedy =
          config.databaseUrl === null ? 'Restart the hub, which creates a role of its own.' : 'Use two roles: docs/operations.md, "The database\'s roles".';
        found.push(warn("the hub's role can change and delete events", remedy));
      }
      return worst(found, `PostgreSQL ${facts.version}, ${bytesText(facts.sizeBytes)}, ${free} connections free`);
    },
  };
}

function findings(facts: DatabaseFacts, free: number): readonly Verdict[] {
  const found: Verdict[] = [];
  const { sentMs, readMs, heardMs } = facts.clock;
  found.push(clockVerdict('the database', readMs, sentMs, heardMs, 1));
  const setting = (name: string): string => facts.settings.get(name) ?? '';
  if (facts.isStandby) found.push(fail('it is a standby and accepts no writes', 'Name the primary in DATABASE_URL.'));
  if (setting('default_transaction_read_only') === 'on') found.push(fail('it is set to read only', 'Set default_transaction_read_only = off.'));
  if (!facts.mayCreate) found.push(fail('the hub may not create its tables', 'GRANT CREATE ON DATABASE to the user in DATABASE_URL.'));
  if (setting('server_encoding') !== 'UTF8') found.push(fail(`its encoding is ${setting('server_encoding')}`, 'Create the database with ENCODING UTF8.'));
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit']) {
    if (setting(name) === 'off') found.push(warn(`${name} is off, so a power failure may lose recorded events`, `Set ${name} = on.`));
  }
  if (free < CONNECTIONS_NEEDED) found.push(warn(`only ${free} of its ${setting('max_connections')} connections are free`, 'Raise max_connections.'));
  if (facts.majorVersion < TRIED_FROM) {
    found.push(warn(`PostgreSQL ${facts.version}`, `Tested with PostgreSQL ${TRIED_FROM}; upgrade, or test this version first.`));
  }
  return found;
}
