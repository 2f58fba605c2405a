-- What was missed: rows are compared with the newest message of each, and rows that are gone with what was captured of them.

create or replace function qctl._row_key(p_key_columns text[], p_record jsonb) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  -- Numbers that are equal have the same hash, however they are written.
  select jsonb_hash_extended(k.key, 0) || '.' || jsonb_hash_extended(k.key, 1)
  from (select jsonb_agg(p_record -> c order by n) as key from unnest(p_key_columns) with ordinality as u (c, n)) k
$$;

create or replace function qctl._captured(p_backfill qctl.backfill, p_queue text, p_after bigint)
returns table (msg_id bigint, row_key text, digest text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns integer := (select count(*) from pg_attribute a where a.attrelid = p_backfill.relation and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v');
begin
  return query execute format($q$
    with message as materialized (
      select m.msg_id, coalesce(m.message ->> 'operation', m.message ->> 'type') as operation,
             nullif(m.message -> 'record', 'null') as record, nullif(m.message -> 'old_record', 'null') as old_record
      from (select q.msg_id, q.message from pgmq.%1$I q where q.msg_id > $4
            union all select a.msg_id, a.message from pgmq.%2$I a where a.msg_id > $4
            union all select d.msg_id, d.message from qctl.dead_letter d where d.queue_id = $2 and d.msg_id > $4) m
      where m.message ->> 'schema' = $5 and m.message ->> 'table' = $6
    ), ended as (
      -- A TRUNCATE ends all rows of before.
      select coalesce(max(m.msg_id), 0) as at from message m where m.operation = 'TRUNCATE'
    )
    select m.msg_id, e.row_key, e.digest
    from message m cross join ended
    cross join lateral (
      select qctl._row_key($1, m.record) as row_key, md5(m.record::text) as digest
      where jsonb_typeof(m.record) = 'object'
        -- A READ of some columns says nothing of the others.
        and not (m.operation = 'READ' and (select count(*) from jsonb_object_keys(m.record)) < $3)
      union all
      -- The old key of a row that has another one now, or that is gone.
      select qctl._row_key($1, m.old_record), null
      where jsonb_typeof(m.old_record) = 'object' and (m.record is null or qctl._row_key($1, m.old_record) <> qctl._row_key($1, m.record))
    ) e
    where m.msg_id > ended.at
  $q$, 'q_' || p_queue, 'a_' || p_queue)
  using p_backfill.key_columns, p_backfill.queue_id, v_columns, p_after,
        (select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_backfill.relation),
        (select c.relname::text from pg_class c where c.oid = p_backfill.relation);
end
$$;
comment on function qctl._captured(qctl.backfill, text, bigint) is
  'What messages after an id say of rows: the md5 of a row that was captured, null for one that is gone. Reads the queue, its archive and its dead letters.';

create or replace function qctl._note_seen(p_backfill qctl.backfill, p_queue text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into qctl.backfill_seen (backfill_id, row_key, msg_id, digest)
  select p_backfill.backfill_id, s.row_key, s.msg_id, s.digest
  from (select distinct on (c.row_key) c.* from qctl._captured(p_backfill, p_queue, 0) c order by c.row_key, c.msg_id desc) s
  where s.digest is not null
$$;
comment on function qctl._note_seen(qctl.backfill, text) is 'Notes what was captured last of each row that is not gone.';

create or replace function qctl._tells_of_vanished(p_backfill qctl.backfill) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p_backfill.missed and p_backfill.where_sql is null and p_backfill.when_sql is null
         and 'DELETE' = any (coalesce((qctl._find_attachment(p_backfill.relation::oid::text, p_backfill.queue_id)).operations, '{}'))
$$;
comment on function qctl._tells_of_vanished(qctl.backfill) is 'Is the deletion of a row told, and does every row of the table count?';

create or replace function qctl._backfill_vanished(p_backfill qctl.backfill, p_queue text, p_limit integer, out rows integer, out queued integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format($q$
    with gone as materialized (
      delete from qctl.backfill_seen s
      where s.ctid = any (array(select o.ctid from qctl.backfill_seen o where o.backfill_id = $1 order by o.row_key limit $2))
      returning s.*
    ), captured as (
      -- What has a newer message was captured, whatever became of it.
      select g.msg_id, coalesce((select q.message from pgmq.%1$I q where q.msg_id = g.msg_id), (select a.message from pgmq.%2$I a where a.msg_id = g.msg_id),
                                (select d.message from qctl.dead_letter d where d.queue_id = $3 and d.msg_id = g.msg_id)) -> 'record' as record
      from gone g
      where not exists (select from qctl._captured($4, %3$L, (select min(o.msg_id) from gone o)) c where c.row_key = g.row_key and c.msg_id > g.msg_id)
    ), queued as (
      insert into pgmq.%1$I (vt, message, headers)
      select clock_timestamp(), $5 || jsonb_build_object('old_record', c.record), qctl._order_headers(qctl._order_of($6, 'DELETE', jsonb_build_object('old_record', c.record)))
      from captured c where c.record is not null order by c.msg_id
      returning 1
    )
    select (select count(*) from gone), (select count(*) from queued)
  $q$, 'q_' || p_queue, 'a_' || p_queue, p_queue) into rows, queued
  using p_backfill.backfill_id, p_limit, p_backfill.queue_id, p_backfill, qctl._event_head(p_backfill.relation, 'DELETE', p_backfill.payload),
        qctl._backfill_attachment(p_backfill);
end
$$;
comment on function qctl._backfill_vanished(qctl.backfill, text, integer) is
  'Queues the deletion of rows that were captured, are not in the table now and have no newer message, with what was captured last as the old row. rows is 0 when none is left.';
