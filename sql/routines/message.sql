-- Messages: send, and one message's whole life.

create or replace function qctl.send(p_queue text, p_messages jsonb[], p_headers jsonb default null, p_delay_s double precision default 0,
                                     p_audit boolean default false, p_order_key text default null)
returns setof bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_headers is not null then
    perform qctl._check_headers(p_headers);
  end if;
  if p_delay_s is null or p_delay_s < 0 or p_delay_s > 315360000 then
    raise exception 'a delay is 0 to 10 years' using errcode = 'QC002';
  end if;
  if p_order_key is not null and length(p_order_key) not between 1 and 200 then
    raise exception 'an order key has 1 to 200 characters' using errcode = 'QC002';
  elsif p_order_key is not null and not v_queue.ordered then
    raise exception 'queue % is not ordered', p_queue using errcode = 'QC007', hint = format('qctl set -q %s --ordered', p_queue);
  end if;
  return query execute format(
    'insert into pgmq.%I (vt, message, headers)
     select $3, m, $2 from unnest($1) with ordinality as u (m, n) order by n returning msg_id', 'q_' || p_queue)
    using p_messages,
          nullif(coalesce(qctl._lower_keys(p_headers), '{}')
                 || case when p_order_key is null then '{}' else jsonb_build_object('x-pgmq-group', p_order_key) end, '{}'),
          clock_timestamp() + make_interval(secs => p_delay_s);
  if p_audit then
    perform qctl._audit('send', p_queue, jsonb_build_object('messages', cardinality(p_messages), 'delay_s', nullif(p_delay_s, 0)));
  end if;
  perform qctl._notify(v_queue.queue_id);
end
$$;
comment on function qctl.send(text, jsonb[], jsonb, double precision, boolean, text) is
  'Enqueues messages, all with the same headers and delay; returns their ids in order. p_audit records that it was done, not what was sent. '
  'p_order_key: one at a time with the others of this key.';

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
comment on function qctl.locate(bigint, text) is 'The queues that know a message of this id.';

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
comment on function qctl.message(text, bigint) is 'One message as it stands now, wherever it is.';

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
comment on function qctl.message_states(text, bigint[]) is 'How each of these messages stands now, and in which delivery; those that the queue knows.';

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
  'Those that are no longer as somebody saw them: finished meanwhile, replayed meanwhile, or gone.';
