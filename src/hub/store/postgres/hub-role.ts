import pg from 'pg';
import type { DataSource } from 'typeorm';

/** What the hub calls in `event_store`; each runs as the owner. */
const FUNCTIONS = [
  'event_store.append(jsonb, bigint)',
  'event_store.take_lease(jsonb)',
  'event_store.renew_lease(bigint)',
  'event_store.announce_standby(jsonb)',
];
/** Kinds of relations in pg_class; an index belongs to the owner of its table. */
const RELATION_KINDS: Readonly<Record<string, string>> = { r: 'table', p: 'table', v: 'view', m: 'materialized view', S: 'sequence' };

/**
 * Grants the hub's role only the privileges it needs: it reads events and appends them through the store's function, which runs as the owner, and it
 * owns the read models, which it rebuilds. Repeated after every migration, because migrations create objects that the owner owns. Does nothing if both
 * are the same role.
 * @param owner connected as the owner of the event store, who must be a superuser or a member of the hub's role
 * @throws errors of `pg` when the owner lacks the privileges
 */
export async function grantToHub(owner: DataSource, hubRole: string): Promise<void> {
  await owner.transaction(async (manager) => {
    const select = <Row>(sql: string, parameters: unknown[]): Promise<Row[]> => manager.query<Row[]>(sql, parameters);
    const [found] = await select<{ owner: string }>('select current_user as owner', []);
    if (found === undefined || found.owner === hubRole) return;
    const hub = pg.escapeIdentifier(hubRole);
    for (const called of FUNCTIONS) {
      await manager.query(`alter function ${called} security definer set search_path = pg_catalog, pg_temp`);
      await manager.query(`revoke all on function ${called} from public`);
      await manager.query(`grant execute on function ${called} to ${hub}`);
    }
    await manager.query('revoke all on function event_store.append(jsonb) from public');
    await manager.query(`revoke all on function event_store.append(jsonb) from ${hub}`);
    await manager.query(`grant usage on schema event_store to ${hub}`);
    await manager.query(`revoke all on event_store.events, event_store.lease from ${hub}`);
    await manager.query(`grant select on event_store.events, event_store.lease to ${hub}`);
    await manager.query(`grant select on sendense_migrations to ${hub}`);
    await manager.query(`alter schema read_models owner to ${hub}`);
    await manager.query(`alter schema read_models_as_of owner to ${hub}`);
    const foreign = await select<{ schema: string; name: string; kind: string }>(
      `select n.nspname as schema, c.relname as name, c.relkind as kind from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('read_models', 'read_models_as_of') and c.relkind = any ($2::"char"[]) and pg_get_userbyid(c.relowner) <> $1`,
      [hubRole, Object.keys(RELATION_KINDS)],
    );
    for (const { schema, name, kind } of foreign) {
      await manager.query(`alter ${RELATION_KINDS[kind] ?? 'table'} ${schema}.${pg.escapeIdentifier(name)} owner to ${hub}`);
    }
  });
}
