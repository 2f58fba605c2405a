-- Message: the present state of messages that are known by their ids.

create or replace function qctl.locate(p_msg_id bigint, p_queue text default null) returns setof text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_id integer;
  v_found boolean;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_name, v_id in
    select q.queue_name, q.queue_id from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name
  loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_name)) is null or to_regclass(format('pgmq.%I', 'a_' || v_name)) is null;
    execute format('select exists (select from pgmq.%1$I where msg_id = $1) or exists (select from pgmq.%2$I where msg_id = $1)',
                   'q_' || v_name, 'a_' || v_name)
      into v_found using p_msg_id;
    if v_found or exists (select from qctl.dead_letter d where d.queue_id = v_id and d.msg_id = p_msg_id) then
      return next v_name;
    end if;
  end loop;
end
$$;
comment on function qctl.locate(bigint, text) is 'The queues that know a message with this id.';

create or replace function qctl.message(p_queue text, p_msg_id bigint)
returns table (queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamptz, visible_at timestamptz,
               finished_at timestamptz, delivery_no integer, attempts integer, lost integer, next_at timestamptz,
               last_status integer, last_error text, reason text, note text, headers jsonb, message jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select $2, q.msg_id,
           case when f.msg_id is not null then 'in_flight' when q.vt <= clock_timestamp() then 'ready'
                when r.msg_id is not null then 'retrying' else 'delayed' end,
           coalesce(r.webhook_id, qctl.webhook_id($3, q.msg_id, q.enqueued_at)),
           case when isfinite(q.enqueued_at) then q.enqueued_at end, case when isfinite(q.vt) then q.vt end, null::timestamptz,
           coalesce(r.delivery_no, 1), coalesce(r.attempts, 0), coalesce(r.lost, 0), r.next_at, r.last_status, r.last_error,
           null::text, null::text, q.headers, q.message
    from pgmq.%1$I q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
    where q.msg_id = $4
    union all
    select $2, d.msg_id, 'dead', coalesce(d.webhook_id, qctl.webhook_id($3, d.msg_id, d.enqueued_at)),
           case when isfinite(d.enqueued_at) then d.enqueued_at end, null,
           d.died_at, d.delivery_no, d.attempts, d.lost, null, d.status_code, d.error, d.reason, d.note, d.headers, d.message
    from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = $4
    union all
    select $2, a.msg_id, case when a.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end,
           coalesce(qctl._mark_webhook_id(a.headers), qctl.webhook_id($3, a.msg_id, a.enqueued_at)),
           case when isfinite(a.enqueued_at) then a.enqueued_at end, null, a.archived_at, coalesce(qctl._mark_number(a.headers, 'delivery_no'), 1),
           coalesce(qctl._mark_number(a.headers, 'attempts'), 0), 0, null,
           qctl._mark_number(a.headers, 'status'), null, null, null,
           case when jsonb_typeof(a.headers) = 'object' then nullif(a.headers - 'qctl', '{}') else a.headers end, a.message
    from pgmq.%2$I a where a.msg_id = $4
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_queue, v_queue.queue_uuid, p_msg_id;
end
$$;
comment on function qctl.message(text, bigint) is 'The present state of one message, wherever it is stored.';

create or replace function qctl.message_state(p_queue text, p_msg_id bigint)
returns table (queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamptz, visible_at timestamptz,
               finished_at timestamptz, delivery_no integer, attempts integer, lost integer, next_at timestamptz,
               last_status integer, last_error text, reason text, note text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select m.queue_name, m.msg_id, m.state, m.webhook_id, m.enqueued_at, m.visible_at, m.finished_at, m.delivery_no, m.attempts, m.lost,
         m.next_at, m.last_status, m.last_error, m.reason, m.note
  from qctl.message(p_queue, p_msg_id) m
$$;
comment on function qctl.message_state(text, bigint) is 'As qctl.message(), without headers and payload.';

create or replace function qctl.message_states(p_queue text, p_msg_ids bigint[]) returns table (msg_id bigint, state text, delivery_no integer)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select q.msg_id, case when f.msg_id is not null then 'in_flight' when q.vt <= clock_timestamp() then 'ready'
                          when r.msg_id is not null then 'retrying' else 'delayed' end,
           coalesce(r.delivery_no, 1)
    from pgmq.%1$I q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
    where q.msg_id = any ($2)
    union all
    select d.msg_id, 'dead', d.delivery_no from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = any ($2)
      and not exists (select from pgmq.%1$I q where q.msg_id = d.msg_id)
    union all
    select a.msg_id, case when a.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end,
           coalesce(qctl._mark_number(a.headers, 'delivery_no'), 1)
    from pgmq.%2$I a where a.msg_id = any ($2) and not exists (select from pgmq.%1$I q where q.msg_id = a.msg_id)
      and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = a.msg_id)
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_msg_ids;
end
$$;
comment on function qctl.message_states(text, bigint[]) is
  'The present state and delivery of those of these messages that the queue knows.';

create or replace function qctl._changed(p_queue text, p_msg_ids bigint[], p_seen_states text[], p_seen_delivery_nos integer[]) returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(w.id), '{}')
  from unnest(p_msg_ids, p_seen_states, p_seen_delivery_nos) as w (id, state, delivery_no)
  left join qctl.message_states(p_queue, p_msg_ids) n on n.msg_id = w.id
  where w.state is not null
    and (n.msg_id is null or n.delivery_no <> w.delivery_no
         or (n.state in ('delivered', 'dead', 'archived')) <> (w.state in ('delivered', 'dead', 'archived')))
$$;
comment on function qctl._changed(text, bigint[], text[], integer[]) is
  'Those of these messages that have changed since they were seen: finished, replayed or gone.';
