/** Database inspection for `sendense validate`. A program of its own, because a node ships without the database client. */
export { type DatabaseFacts, inspectDatabase, missingEvents } from './store/postgres/inspect-database.js';
export { localDatabaseUrl } from './store/postgres/local-postgres.js';
