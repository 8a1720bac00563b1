import pg from 'pg';

export interface DatabaseFacts {
  /** `18.1` */
  readonly version: string;
  readonly majorVersion: number;
  /** Settings by name, as PostgreSQL shows them. */
  readonly settings: ReadonlyMap<string, string>;
  readonly connections: number;
  readonly isStandby: boolean;
  readonly sizeBytes: number;
  /** Whether the hub's tables exist or may be created. */
  readonly mayCreate: boolean;
  /** Whether this role can change or delete events, or disable the protection against that. */
  readonly mayChangeEvents: boolean;
  /** Its clock, read between `sentMs` and `heardMs` of ours, all in milliseconds since 1970. */
  readonly clock: { readonly sentMs: number; readonly readMs: number; readonly heardMs: number };
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
/** The query counts every event. */
const GAPS_DEADLINE_MS = 120_000;

/** Inspects a database without changing it. @throws Error of the connection or a query; its message contains no password */
export async function inspectDatabase(url: string): Promise<DatabaseFacts> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: DEADLINE_MS, query_timeout: DEADLINE_MS });
  // A broken connection also fails the current query.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows: settings } = await client.query<{ name: string; setting: string }>('select name, setting from pg_settings where name = any($1)', [
      INSPECTED_SETTINGS,
    ]);
    const sentMs = Date.now();
    const { rows } = await client.query<{
      now_ms: number;
      version: string;
      number: string;
      connections: string;
      standby: boolean;
      size: string;
      may_create: boolean;
      may_change_events: boolean;
    }>(
      `select extract(epoch from clock_timestamp())::float8 * 1000 as now_ms, current_setting('server_version') as version, current_setting('server_version_num') as number, (select count(*) from pg_stat_activity) as connections,
         pg_is_in_recovery() as standby, pg_database_size(current_database()) as size,
         has_database_privilege(current_database(), 'create') or to_regclass('event_store.events') is not null as may_create,
         (select rolsuper from pg_roles where rolname = current_user)
           or coalesce((select pg_has_role(relowner, 'member') or has_table_privilege(oid, 'insert, update, delete, truncate, trigger')
                          from pg_class where oid = to_regclass('event_store.events')), false) as may_change_events`,
    );
    const heardMs = Date.now();
    const [found] = rows;
    if (found === undefined) throw new Error('PostgreSQL returned no answer');
    return {
      version: found.version,
      majorVersion: Math.floor(Number(found.number) / 10_000),
      settings: new Map(settings.map(({ name, setting }) => [name, setting])),
      connections: Number(found.connections),
      isStandby: found.standby,
      sizeBytes: Number(found.size),
      mayCreate: found.may_create,
      mayChangeEvents: found.may_change_events,
      clock: { sentMs, readMs: found.now_ms, heardMs },
    };
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Positions and revisions have no gaps, so deleted events can be detected. Returns a description; null: none is missing. @throws errors of `pg` */
export async function missingEvents(url: string): Promise<string | null> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: DEADLINE_MS, query_timeout: GAPS_DEADLINE_MS });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows: stores } = await client.query<{ there: boolean }>(`select to_regclass('event_store.events') is not null as there`);
    if (stores[0]?.there !== true) return null;
    const { rows: counts } = await client.query<{ missing: string }>('select coalesce(max(position), 0) - count(*) as missing from event_store.events');
    const { rows: streams } = await client.query<{ stream: string }>(
      'select stream from event_store.events group by stream having max(revision) + 1 <> count(*) order by min(position) limit 3',
    );
    const missing = Number(counts[0]?.missing ?? 0);
    if (missing === 0 && streams.length === 0) return null;
    const named =
      streams.length === 0 ? '' : `, from the streams ${streams.map(({ stream }) => stream).join(', ')}${streams.length === 3 ? ' and possibly others' : ''}`;
    return `${missing} events are missing${named}`;
  } finally {
    await client.end().catch(() => undefined);
  }
}
