-- Copies: messages as they would be sent, for who looks on. Nothing is claimed, locked or changed.

create or replace function qctl._open_headers(p_headers jsonb) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(h.key, h.value), '{}') from jsonb_each(p_headers) as h
  where h.key !~* 'auth|cookie|key|token|secret|signature|password' and not qctl._is_reference(h.value #>> '{}')
$$;
comment on function qctl._open_headers(jsonb) is 'The headers that are no secret, by their names and values.';

create or replace function qctl.copies(p_queue text, p_after bigint, p_ids bigint[] default '{}', p_where jsonb default null, p_limit integer default 500)
returns table (msg_id bigint, webhook_id text, headers jsonb, body text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select m.msg_id, qctl.webhook_id($1, m.msg_id, m.enqueued_at), qctl._open_headers(qctl._request_headers($2, m.headers)),
           case when $5 is null or m.message @> $5 then coalesce(m.message::text, 'null') end
    from (select n.*, sum(pg_column_size(n.message)) over (order by n.msg_id) as so_far, row_number() over (order by n.msg_id) as place from (
      (select q.msg_id, q.enqueued_at, q.headers, q.message from pgmq.%1$I q
       where (q.msg_id > $3 or q.msg_id = any ($4)) order by q.msg_id limit $6)
      union all
      (select a.msg_id, a.enqueued_at, case when jsonb_typeof(a.headers) = 'object' then a.headers - 'qctl' end, a.message from pgmq.%2$I a
       where (a.msg_id > $3 or a.msg_id = any ($4)) order by a.msg_id limit $6)
      union all
      (select d.msg_id, d.enqueued_at, d.headers, d.message from qctl.dead_letter d
       where d.queue_id = $7 and (d.msg_id > $3 or d.msg_id = any ($4)) order by d.msg_id limit $6)
    ) n) m
    -- One answer holds a few megabytes, or one message.
    where m.so_far < 4194304 or m.place = 1
    order by m.msg_id limit $6
  $q$, 'q_' || p_queue, 'a_' || p_queue)
  using v_queue.queue_uuid, v_queue.headers, p_after, p_ids, p_where, p_limit, v_queue.queue_id;
end
$$;
comment on function qctl.copies(text, bigint, bigint[], jsonb, integer) is
  'Messages after an id, and those of p_ids, in the order of their ids: with their webhook-id, all headers that are no secret, and the body, null where it does not contain p_where. For roles that may read payloads.';

create or replace function qctl.copies_begin(p_queue text) returns table (queue_uuid uuid, newest bigint, oldest_running text, next_transaction text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  queue_uuid := v_queue.queue_uuid;
  newest := greatest(qctl._newest_msg_id(p_queue), (select max(d.msg_id) from qctl.dead_letter d where d.queue_id = v_queue.queue_id));
  oldest_running := pg_snapshot_xmin(pg_current_snapshot());
  next_transaction := pg_snapshot_xmax(pg_current_snapshot());
  return next;
end
$$;
comment on function qctl.copies_begin(text) is
  'Which queue it is, its newest message, and which transactions run: an id below it that is missing may still be committed by one that began before.';
