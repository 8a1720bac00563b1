import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The lease of the active hub: its term, who holds it, and when it was last renewed, by the database's clock. `append` takes the caller's term and refuses
 * a term that is over, under the same lock that gives out positions, so a hub that was replaced can append nothing.
 */
export class CreateHubLease1795257000040 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table event_store.lease (
        single      boolean     not null primary key default true check (single),
        term        bigint      not null,
        holder      jsonb       not null,
        taken_at    timestamptz not null,
        renewed_at  timestamptz not null,
        standby     jsonb,
        standby_at  timestamptz
      )`);
    await runner.query(`insert into event_store.lease (term, holder, taken_at, renewed_at) values (0, '{}', now(), now())`);
    await runner.query(`
      create function event_store.take_lease(who jsonb) returns bigint language plpgsql volatile as $function$
      declare
        taken bigint;
      begin
        if not exists (select from pg_locks where locktype = 'advisory' and granted and pid = pg_backend_pid() and classid = 7310614 and objid = 2) then
          raise exception 'the session that takes the lease must hold the hub lock' using errcode = '55000';
        end if;
        perform pg_advisory_xact_lock(7310614, 1);
        update event_store.lease set term = term + 1, holder = who, taken_at = clock_timestamp(), renewed_at = clock_timestamp(), standby = null returning term into taken;
        return taken;
      end
      $function$`);
    await runner.query(`
      create function event_store.renew_lease(caller_term bigint) returns boolean language plpgsql volatile as $function$
      begin
        update event_store.lease set renewed_at = clock_timestamp() where term = caller_term;
        return found;
      end
      $function$`);
    await runner.query(`
      create function event_store.announce_standby(who jsonb) returns void language plpgsql volatile as $function$
      begin
        update event_store.lease set standby = who, standby_at = clock_timestamp();
      end
      $function$`);
    // The function without a term stays for tools, and for the release before, after a rollback; the hub's role may not call it.
    // PL/pgSQL takes a new snapshot after the lock, so it sees the newest term.
    await runner.query(`
      create function event_store.append(requests jsonb, caller_term bigint)
      returns table (request integer, outcome text, at_revision integer, at_position bigint)
      language plpgsql volatile as $function$
      begin
        perform pg_advisory_xact_lock(7310614, 1);
        if caller_term <> (select term from event_store.lease) then
          raise exception 'term % of the hub lease is over', caller_term using errcode = 'SE001';
        end if;
        return query select * from event_store.append(requests);
      end
      $function$`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop function event_store.append(jsonb, bigint)');
    await runner.query('drop function event_store.take_lease(jsonb), event_store.renew_lease(bigint), event_store.announce_standby(jsonb)');
    await runner.query('drop table event_store.lease');
  }
}
