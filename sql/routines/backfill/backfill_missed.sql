-- What was missed: rows are compared with the newest message of each, and rows that are gone with what was captured of them.

create or replace function qctl._row_key(p_key_columns text[], p_record jsonb) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select md5(jsonb_agg(p_record -> c order by n)::text) from unnest(p_key_columns) with ordinality as u (c, n)
$$;

create or replace function qctl._note_seen(p_backfill qctl.backfill, p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format($q$
    insert into qctl.backfill_seen (backfill_id, row_key, msg_id, digest)
    select $1, s.row_key, s.msg_id, s.digest
    from (select distinct on (c.row_key) c.row_key, c.msg_id, c.digest
    from (
      select m.msg_id, qctl._row_key($2, coalesce(nullif(m.message -> 'record', 'null'), m.message -> 'old_record')) as row_key,
             md5(nullif(m.message -> 'record', 'null')::text) as digest
      from (select q.msg_id, q.message from pgmq.%1$I q
            union all select a.msg_id, a.message from pgmq.%2$I a
            union all select d.msg_id, d.message from qctl.dead_letter d where d.queue_id = $3) m
      where m.message ->> 'schema' = $4 and m.message ->> 'table' = $5
        and jsonb_typeof(coalesce(nullif(m.message -> 'record', 'null'), m.message -> 'old_record')) = 'object'
    ) c
    order by c.row_key, c.msg_id desc) s
    where s.digest is not null
  $q$, 'q_' || p_queue, 'a_' || p_queue)
  using p_backfill.backfill_id, p_backfill.key_columns, p_backfill.queue_id,
        (select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_backfill.relation),
        (select c.relname::text from pg_class c where c.oid = p_backfill.relation);
end
$$;
comment on function qctl._note_seen(qctl.backfill, text) is 'Notes what was captured last of each row. Reads the queue, its archive and its dead letters once.';

create or replace function qctl._backfill_vanished(p_backfill qctl.backfill, p_queue text, p_limit integer, out rows integer, out queued integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What has a message since the run began was captured, whatever became of it.
  execute format($q$
    with since as materialized (
      select qctl._row_key($2, coalesce(nullif(m.message -> 'record', 'null'), m.message -> 'old_record')) as row_key
      from (select q.msg_id, q.message from pgmq.%1$I q where q.msg_id > $3
            union all select a.msg_id, a.message from pgmq.%2$I a where a.msg_id > $3
            union all select d.msg_id, d.message from qctl.dead_letter d where d.queue_id = $4 and d.msg_id > $3) m
      where m.message ->> 'schema' = $5 ->> 'schema' and m.message ->> 'table' = $5 ->> 'table'
    ), gone as (
      delete from qctl.backfill_seen s
      where s.ctid = any (array(select o.ctid from qctl.backfill_seen o where o.backfill_id = $1 order by o.row_key limit $6))
      returning s.*
    ), captured as (
      select g.msg_id, coalesce((select q.message from pgmq.%1$I q where q.msg_id = g.msg_id), (select a.message from pgmq.%2$I a where a.msg_id = g.msg_id),
                                (select d.message from qctl.dead_letter d where d.queue_id = $4 and d.msg_id = g.msg_id)) -> 'record' as record
      from gone g
      where g.row_key not in (select s.row_key from since s where s.row_key is not null)
    ), queued as (
      insert into pgmq.%1$I (vt, message, headers)
      select clock_timestamp(), $5 || jsonb_build_object('old_record', c.record), qctl._order_headers(qctl._order_of($7, 'DELETE', jsonb_build_object('old_record', c.record)))
      from captured c where c.record is not null order by c.msg_id
      returning 1
    )
    select (select count(*) from gone), (select count(*) from queued)
  $q$, 'q_' || p_queue, 'a_' || p_queue) into rows, queued
  using p_backfill.backfill_id, p_backfill.key_columns, p_backfill.from_msg_id, p_backfill.queue_id,
        qctl._event_head(p_backfill.relation, 'DELETE', p_backfill.payload), p_limit, qctl._backfill_attachment(p_backfill);
end
$$;
comment on function qctl._backfill_vanished(qctl.backfill, text, integer) is
  'Queues the deletion of rows that were captured, are not in the table now and have no newer message, with what was captured last as the old row. rows is 0 when none is left.';
