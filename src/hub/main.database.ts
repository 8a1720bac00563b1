/** Database inspection for `sendense validate`. A program of its own, because a node ships without the database client. */
export { inspectEventStoreDb, isTooOld } from './store/event-store/eventstoredb/open-eventstoredb.js';
export { type DatabaseFacts, inspectDatabase, missingEvents } from './store/postgres/inspect-database.js';
export { localDatabaseUrl } from './store/postgres/local-postgres.js';
