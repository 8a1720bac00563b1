import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The append-only log of events and the only function that writes to it.
 *
 * Positions come from the table itself, under an advisory lock that is held until commit. So positions follow the order of commits without gaps, and a
 * reader that asks for "everything after" never skips an event, even after a dump into another cluster.
 */
export class CreateEventStore1795257000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('create schema event_store');
    await runner.query(`
      create table event_store.events (
        position    bigint      not null primary key,
        stream      text        not null,
        revision    integer     not null,
        id          uuid        not null,
        type        text        not null,
        category    text        not null,
        data        jsonb       not null,
        metadata    jsonb       not null,
        recorded_at timestamptz not null,
        constraint events_stream_revision unique (stream, revision)
      )`);
    await runner.query('create index events_category_position on event_store.events (category, position)');
    await runner.query('create index events_stream_id on event_store.events (stream, id)');
    await runner.query(`create index events_correlation on event_store.events ((metadata->>'$correlationId'))`);
    await runner.query(`
      create function event_store.refuse_change() returns trigger language plpgsql as $function$
      begin
        raise exception 'events are facts: they are neither changed nor deleted';
      end
      $function$`);
    await runner.query(`
      create trigger events_are_immutable before update or delete or truncate on event_store.events
      for each statement execute function event_store.refuse_change()`);

    // Must be VOLATILE (the default): under READ COMMITTED every statement then takes a new snapshot, so the statements after the lock see everything
    // that was committed before the lock was acquired.
    await runner.query(`
      create function event_store.append(requests jsonb)
      returns table (request integer, outcome text, at_revision integer, at_position bigint)
      language plpgsql volatile as $function$
      declare
        item        jsonb;
        head        bigint;
        written     boolean := false;
        now_at      timestamptz;
        stream_name text;
        expected    text;
        actual      integer;
        wanted      integer;
        ids         uuid[];
        found_ids   uuid[];
        last_found  integer;
        next_found  integer;
        one_id      uuid;
      begin
        perform pg_advisory_xact_lock(7310614, 1);
        select coalesce(max(position), 0) into head from event_store.events;
        now_at := clock_timestamp();
        request := -1;
        for item in select value from jsonb_array_elements(requests) loop
          request := request + 1;
          stream_name := item->>'stream';
          expected := item->>'expected';
          select array_agg((event->>'id')::uuid order by number) into ids
            from jsonb_array_elements(item->'events') with ordinality as list (event, number);
          select max(revision) into actual from event_store.events where stream = stream_name;
          outcome := null;
          at_revision := actual;
          at_position := null;

          if expected in ('any', 'stream_exists') then
            if expected = 'stream_exists' and actual is null then
              outcome := 'conflict';
            elsif actual is not null and exists (select from event_store.events where stream = stream_name and id = any (ids)) then
              last_found := -1;
              foreach one_id in array ids loop
                select min(revision) into next_found
                  from event_store.events where stream = stream_name and id = one_id and revision > last_found;
                last_found := next_found;
                exit when next_found is null;
              end loop;
              outcome := case when last_found is null then 'conflict' else 'idempotent' end;
            end if;
          else
            wanted := case expected when 'no_stream' then -1 else expected::integer end;
            if wanted > coalesce(actual, -1) then
              outcome := 'conflict';
            elsif wanted < coalesce(actual, -1) then
              last_found := wanted + cardinality(ids);
              select array_agg(id order by revision) into found_ids
                from event_store.events where stream = stream_name and revision > wanted and revision <= last_found;
              outcome := case when found_ids = ids then 'idempotent' else 'conflict' end;
            end if;
          end if;

          if outcome is null then
            insert into event_store.events (position, stream, revision, id, type, category, data, metadata, recorded_at)
              select head + number, stream_name, coalesce(actual, -1) + number, (event->>'id')::uuid, event->>'type',
                     split_part(stream_name, '-', 1), event->'data', event->'metadata', now_at
              from jsonb_array_elements(item->'events') with ordinality as list (event, number);
            head := head + cardinality(ids);
            written := true;
            outcome := 'written';
            at_revision := coalesce(actual, -1) + cardinality(ids);
            at_position := head;
          elsif outcome = 'idempotent' then
            at_revision := last_found;
            select position into at_position from event_store.events where stream = stream_name and revision = last_found;
          end if;
          return next;
        end loop;
        if written then
          perform pg_notify('event_store', '');
        end if;
      end
      $function$`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop schema event_store cascade');
  }
}
