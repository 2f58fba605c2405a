-- Messages: find them by state, last attempt or payload.

create or replace function qctl._messages(
  p_queue text, p_states text[], p_since timestamptz, p_until timestamptz, p_captured_since timestamptz, p_status_codes text[],
  p_error text, p_response text, p_not_response text, p_retrying boolean, p_where jsonb, p_limit integer, p_before_id bigint,
  p_before_at timestamptz)
returns table (queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamptz, visible_at timestamptz,
               finished_at timestamptz, delivery_no integer, attempts integer, lost integer, next_at timestamptz, reason text, note text,
               last_attempt_at timestamptz, status_code integer, error text, response text, duration_ms integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  c_states constant text[] := '{ready,delayed,in_flight,retrying,delivered,dead,archived}';
  v_queue qctl.queue := qctl._queue(p_queue);
  v_states text[] := coalesce(p_states, c_states);
  v_by_attempt boolean := coalesce(p_since, p_until) is not null or coalesce(p_error, p_response, p_not_response) is not null
                          or p_status_codes is not null;
  v_unfinished boolean := v_states && '{ready,delayed,in_flight,retrying}';
  v_places text[];
  v_pick text := '';
  v_tried text := '';
  v_all text;
begin
  if not v_states <@ c_states then
    raise exception '% is not a message state',
        (select quote_literal(string_agg(s, ', ')) from unnest(v_states) s where not s = any (c_states))
      using errcode = 'QC002', hint = 'states: ' || array_to_string(c_states, ', ');
  end if;
  if p_retrying then
    v_states := array(select s from unnest(v_states) s where s in ('ready', 'in_flight', 'retrying'));
    v_pick := 'and r.attempts > 0';
  end if;
  -- Few messages have these states, so they are looked up from the small tables.
  if not v_by_attempt and (p_retrying or v_states = '{retrying}') then
    v_pick := v_pick || ' and m.msg_id = any (array(select x.msg_id from qctl.retry x where x.queue_id = $1))';
  elsif not v_by_attempt and v_states = '{in_flight}' then
    v_pick := v_pick || ' and m.msg_id = any (array(select x.msg_id from qctl.in_flight x where x.queue_id = $1 and x.lapsed_at is null))';
  end if;
  -- Attempts too: by the few messages that are dead, retried or in flight, or by the index of failed attempts.
  if p_retrying or v_states = '{retrying}' then
    v_tried := 'and t.msg_id = any (array(select x.msg_id from qctl.retry x where x.queue_id = $1))';
  elsif v_states = '{dead}' then
    v_tried := 'and t.msg_id = any (array(select x.msg_id from qctl.dead_letter x where x.queue_id = $1))';
  elsif v_states = '{in_flight}' then
    v_tried := 'and t.msg_id = any (array(select x.msg_id from qctl.in_flight x where x.queue_id = $1 and x.lapsed_at is null))';
  elsif p_status_codes is not null and not exists (select from unnest(p_status_codes) c where left(c, 1) in ('2', 'x', 'X')) then
    v_tried := 'and t.outcome <> ''delivered''';
  end if;
  if v_unfinished and to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    v_places := array_append(v_places, format($q$(
      select m.msg_id, m.state, m.webhook_id, case when isfinite(m.enqueued_at) then m.enqueued_at end as enqueued_at,
             case when isfinite(m.visible_at) then m.visible_at end as visible_at, null::timestamptz as finished_at, m.delivery_no, m.attempts, m.lost,
             m.next_at, null::text as reason, null::text as note
      from (
        select m.msg_id, case when f.msg_id is not null then 'in_flight' when m.vt <= $3 then 'ready'
                              when r.msg_id is not null then 'retrying' else 'delayed' end as state,
               coalesce(r.webhook_id, qctl.webhook_id($2, m.msg_id, m.enqueued_at)) as webhook_id, m.enqueued_at, m.vt as visible_at,
               coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempts, 0) as attempts, coalesce(r.lost, 0) as lost, r.next_at
        from pgmq.%I m
        left join qctl.retry r on r.queue_id = $1 and r.msg_id = m.msg_id and r.enqueued_at = m.enqueued_at
        left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = m.msg_id and f.lapsed_at is null
        where @ID@ and ($6 is null or m.message @> $6) and ($7 is null or m.enqueued_at >= $7) %s
        order by m.msg_id desc) m
      where m.state = any ($4)
      limit @LIMIT@)$q$, 'q_' || p_queue, v_pick));
  end if;
  if 'dead' = any (v_states) then
    v_places := array_append(v_places, $q$(
      select m.msg_id, 'dead', coalesce(m.webhook_id, qctl.webhook_id($2, m.msg_id, m.enqueued_at)),
             case when isfinite(m.enqueued_at) then m.enqueued_at end, null::timestamptz, m.died_at, m.delivery_no,
             m.attempts, m.lost, null::timestamptz, m.reason, m.note
      from qctl.dead_letter m
      where m.queue_id = $1 and @ID@ and ($6 is null or m.message @> $6) and ($7 is null or m.enqueued_at >= $7)
      order by m.msg_id desc limit @LIMIT@)$q$);
  end if;
  if v_states && '{delivered,archived}' and to_regclass(format('pgmq.%I', 'a_' || p_queue)) is not null then
    v_places := array_append(v_places, format($q$(
      select m.msg_id, case when m.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end,
             coalesce(qctl._mark_webhook_id(m.headers), qctl.webhook_id($2, m.msg_id, m.enqueued_at)),
             case when isfinite(m.enqueued_at) then m.enqueued_at end, null::timestamptz, m.archived_at,
             coalesce(qctl._mark_number(m.headers, 'delivery_no'), 1), coalesce(qctl._mark_number(m.headers, 'attempts'), 0), 0, null::timestamptz, null::text, null::text
      from pgmq.%I m
      where @ID@ and ($6 is null or m.message @> $6) and ($7 is null or m.enqueued_at >= $7 and m.archived_at >= $7)
        and case when m.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end = any ($4)
      order by m.msg_id desc limit @LIMIT@)$q$, 'a_' || p_queue));
  end if;
  if v_places is null then
    return;
  end if;
  v_all := array_to_string(v_places, ' union all ');

  if not v_by_attempt then
    return query execute format($q$
      select $5, m.*, t.settled_at, t.status_code, t.error, t.response, t.duration_ms
      from (select * from (%s) m order by m.msg_id desc limit $9) m
      left join lateral (select * from qctl.attempt t where t.queue_id = $1 and t.msg_id = m.msg_id
                         order by t.delivery_no desc, t.attempt_no desc limit 1) t on true
      order by m.msg_id desc
    $q$, replace(replace(v_all, '@ID@', 'm.msg_id < $8'), '@LIMIT@', '$9'))
    using v_queue.queue_id, v_queue.queue_uuid, clock_timestamp(), v_states, v_queue.queue_name, p_where, p_captured_since,
          coalesce(p_before_id, 9223372036854775807), p_limit;
    return;
  end if;

  return query execute format($q$
    select $5, m.*, t.settled_at, t.status_code, t.error, t.response, t.duration_ms
    from qctl.attempt t
    cross join lateral (select * from (%s) m limit 1) m
    where t.queue_id = $1 and t.settled_at >= $8 and t.settled_at < $9 and (t.settled_at, t.msg_id) < ($10, $11)
      and ($12 is null or t.status_code::text like any ($12))
      and ($13 is null or t.error ilike $13)
      and ($14 is null or position($14 in t.response) > 0)
      and ($15 is null or position($15 in coalesce(t.response, '')) = 0)
      and not exists (select from qctl.attempt n where n.queue_id = $1 and n.msg_id = t.msg_id
                        and (n.delivery_no, n.attempt_no) > (t.delivery_no, t.attempt_no))
      %s
    order by t.settled_at desc, t.msg_id desc limit $16
  $q$, replace(replace(v_all, '@ID@', 'm.msg_id = t.msg_id'), '@LIMIT@', '1'), v_tried)
  using v_queue.queue_id, v_queue.queue_uuid, clock_timestamp(), v_states, v_queue.queue_name, p_where, p_captured_since,
        coalesce(p_since, '-infinity'), coalesce(p_until, 'infinity'), coalesce(p_before_at, 'infinity'),
        coalesce(p_before_id, 9223372036854775807),
        (select array_agg(replace(lower(s), 'x', '_')) from unnest(p_status_codes) s),
        '%' || replace(replace(replace(p_error, '\', '\\'), '%', '\%'), '_', '\_') || '%', p_response, p_not_response, p_limit;
end
$$;

create or replace function qctl.messages(
  p_queue text, p_states text[] default null, p_since timestamptz default null, p_until timestamptz default null,
  p_captured_since timestamptz default null, p_status_codes text[] default null, p_error text default null, p_response text default null,
  p_not_response text default null, p_retrying boolean default false, p_limit integer default 100, p_before_id bigint default null,
  p_before_at timestamptz default null)
returns table (queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamptz, visible_at timestamptz,
               finished_at timestamptz, delivery_no integer, attempts integer, lost integer, next_at timestamptz, reason text, note text,
               last_attempt_at timestamptz, status_code integer, error text, response text, duration_ms integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._messages(p_queue, p_states, p_since, p_until, p_captured_since, p_status_codes, p_error, p_response, p_not_response,
                               p_retrying, null, p_limit, p_before_id, p_before_at)
$$;
comment on function qctl.messages(text, text[], timestamptz, timestamptz, timestamptz, text[], text, text, text, boolean, integer, bigint, timestamptz) is
  'The messages of a queue with their last attempt, newest first, without payload. Filters on the last attempt: '
  'p_since and p_until (its time), p_status_codes (404, 5xx), p_error (part of the error), p_response and '
  'p_not_response (part of the answer). With such a filter the order is by that time, otherwise by id. p_retrying: '
  'unfinished messages that have been attempted, whether waiting, due or in flight. Next page: p_before_id = last msg_id, p_before_at = its last_attempt_at.';

create or replace function qctl.messages_where(
  p_queue text, p_where jsonb, p_states text[] default null, p_since timestamptz default null, p_until timestamptz default null,
  p_captured_since timestamptz default null, p_status_codes text[] default null, p_error text default null, p_response text default null,
  p_not_response text default null, p_retrying boolean default false, p_limit integer default 100, p_before_id bigint default null,
  p_before_at timestamptz default null)
returns table (queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamptz, visible_at timestamptz,
               finished_at timestamptz, delivery_no integer, attempts integer, lost integer, next_at timestamptz, reason text, note text,
               last_attempt_at timestamptz, status_code integer, error text, response text, duration_ms integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._messages(p_queue, p_states, p_since, p_until, p_captured_since, p_status_codes, p_error, p_response, p_not_response,
                               p_retrying, p_where, p_limit, p_before_id, p_before_at)
$$;
comment on function qctl.messages_where(text, jsonb, text[], timestamptz, timestamptz, timestamptz, text[], text, text, text, boolean, integer, bigint, timestamptz) is
  'As qctl.messages(), only messages whose payload contains p_where (jsonb @>). For roles that may read payloads.';

create or replace function qctl.payloads(p_queue text, p_msg_ids bigint[])
returns table (msg_id bigint, headers jsonb, message jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select q.msg_id, q.headers, q.message from pgmq.%1$I q where q.msg_id = any ($2)
    union all select d.msg_id, d.headers, d.message from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = any ($2)
    union all select a.msg_id, case when jsonb_typeof(a.headers) = 'object' then nullif(a.headers - 'qctl', '{}') else a.headers end, a.message
    from pgmq.%2$I a where a.msg_id = any ($2)
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_msg_ids;
end
$$;
comment on function qctl.payloads(text, bigint[]) is
  'The headers and payloads of messages, wherever they are stored. For roles that may read payloads.';

create or replace function qctl.dead(p_queue text, p_since timestamptz, p_until timestamptz default null)
returns table (queue_name text, reason text, status_code integer, error text, messages bigint, first_at timestamptz, last_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, d.reason, d.status_code,
         coalesce(mode() within group (order by coalesce(d.note, d.error)),
                  (select left(a.response, 200) from qctl.attempt a
                   where a.queue_id = min(d.queue_id) and a.msg_id = (array_agg(d.msg_id order by d.died_at desc))[1]
                   order by a.delivery_no desc, a.attempt_no desc limit 1)),
         count(*), min(d.died_at), max(d.died_at)
  from (select * from qctl.dead_letter d
        where (p_queue is null or d.queue_id = (select x.queue_id from qctl.queue x where x.queue_name = p_queue))
          and (p_since is null or d.died_at >= p_since) and (p_until is null or d.died_at < p_until)
        order by d.died_at desc limit 100000) d
  join qctl.queue q using (queue_id)
  group by 1, 2, 3 order by 5 desc, 7 desc
$$;
comment on function qctl.dead(text, timestamptz, timestamptz) is
  'The newest 100,000 dead letters grouped by reason and status, with the most frequent error or note of each group, or how its last answer began; p_since and p_until: when they died.';

-- A function of its own, because views may depend on it.
create or replace function qctl.dead(p_queue text default null)
returns table (queue_name text, reason text, status_code integer, error text, messages bigint, first_at timestamptz, last_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl.dead(p_queue, null, null)
$$;
comment on function qctl.dead(text) is 'As qctl.dead(text, timestamptz, timestamptz), whenever they died.';
