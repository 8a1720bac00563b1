import pg from 'pg';

export interface DatabaseFacts {
  /** `18.1` */
  readonly version: string;
  readonly majorVersion: number;
  /** Settings as PostgreSQL shows them, by name. */
  readonly settings: ReadonlyMap<string, string>;
  readonly connections: number;
  readonly isStandby: boolean;
  readonly sizeBytes: number;
  readonly mayCreate: boolean;
}

export const INSPECTED_SETTINGS = [
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'server_encoding',
  'max_connections',
  'default_transaction_read_only',
] as const;
const DEADLINE_MS = 10_000;

/** What can be told of a database without changing it. @throws Error of the connection or a query; its message holds no password */
export async function inspectDatabase(url: string): Promise<DatabaseFacts> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: DEADLINE_MS, query_timeout: DEADLINE_MS });
  // What breaks the connection also fails the query under way.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows: settings } = await client.query<{ name: string; setting: string }>('select name, setting from pg_settings where name = any($1)', [
      INSPECTED_SETTINGS,
    ]);
    const { rows } = await client.query<{ version: string; number: string; connections: string; standby: boolean; size: string; may_create: boolean }>(
      `select current_setting('server_version') as version, current_setting('server_version_num') as number, (select count(*) from pg_stat_activity) as connections,
         pg_is_in_recovery() as standby, pg_database_size(current_database()) as size,
         has_database_privilege(current_database(), 'create') as may_create`,
    );
    const [found] = rows;
    if (found === undefined) throw new Error('PostgreSQL gave no answer');
    return {
      version: found.version,
      majorVersion: Math.floor(Number(found.number) / 10_000),
      settings: new Map(settings.map(({ name, setting }) => [name, setting])),
      connections: Number(found.connections),
      isStandby: found.standby,
      sizeBytes: Number(found.size),
      mayCreate: found.may_create,
    };
  } finally {
    await client.end().catch(() => undefined);
  }
}
