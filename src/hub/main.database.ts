/** What `sendense validate` asks about the hub's database; a program of its own, because a node has none of what it needs. */
export { type DatabaseFacts, inspectDatabase, missingEvents } from './store/postgres/inspect-database.js';
export { localDatabaseUrl } from './store/postgres/local-postgres.js';
