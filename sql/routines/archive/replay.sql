-- Replay: delivers finished messages again.

create or replace function qctl._new_webhook_id() returns text
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select 'msg_' || encode(sha256(uuid_send(gen_random_uuid())), 'hex')
$$;

create or replace function qctl.replay(
  p_queue text, p_msg_ids bigint[], p_reason text default null, p_new_id boolean default false, p_per_s double precision default null,
  p_after_s double precision default 0, p_seen_states text[] default null, p_seen_delivery_nos integer[] default null)
returns table (msg_id bigint, outcome text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_q text := 'q_' || p_queue;
  v_a text := 'a_' || p_queue;
  v_now timestamptz;
  v_replayed bigint[];
  v_outcomes jsonb;
  v_changed bigint[] := '{}';
  v_gap_s double precision := coalesce(1 / nullif(p_per_s, 0), 0);
begin
  if p_per_s <= 0 or p_after_s < 0 then
    raise exception 'the rate must be more than 0' using errcode = 'QC002', hint = 'for example 50/s';
  end if;
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_ids;
  if p_seen_states is not null then
    v_changed := qctl._changed(p_queue, p_msg_ids, p_seen_states, p_seen_delivery_nos);
    p_msg_ids := array(select id from unnest(p_msg_ids) as id where not id = any (v_changed));
  end if;
  v_now := clock_timestamp();

  execute format($q$
    with archived as (
      delete from pgmq.%2$I a
      where a.msg_id = any ($2) and not exists (select from pgmq.%1$I q where q.msg_id = a.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = a.msg_id)
      returning a.msg_id, a.read_ct, a.enqueued_at, a.message, a.headers
    ), dead as (
      delete from qctl.dead_letter d
      where d.queue_id = $1 and d.msg_id = any ($2) and not exists (select from pgmq.%1$I q where q.msg_id = d.msg_id)
        and not exists (select from qctl.dead_letter o
                        where o.queue_id = $1 and o.msg_id = d.msg_id and o.enqueued_at > d.enqueued_at)
      returning d.msg_id, d.read_ct, d.enqueued_at, d.message, d.headers, d.delivery_no, d.webhook_id
    ), moving as materialized (
      select a.msg_id, a.read_ct, a.enqueued_at, a.message, nullif(case when jsonb_typeof(a.headers) = 'object' then a.headers - 'qctl' else a.headers end, '{}') as headers,
             qctl._mark_number(a.headers, 'delivery_no') as delivery_no, qctl._mark_webhook_id(a.headers) as webhook_id
      from archived a
      union all select * from dead
    ), timed as materialized (
      select m.*, $3 + make_interval(secs => $4 + (row_number() over (order by m.msg_id) - 1) * $5) as due_at from moving m
    ), queued as (
      insert into pgmq.%1$I (msg_id, read_ct, enqueued_at, vt, message, headers) overriding system value
      select m.msg_id, m.read_ct, m.enqueued_at, m.due_at, m.message, m.headers from timed m
      returning msg_id
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   webhook_id, replayed_at)
      select $1, m.msg_id, m.enqueued_at, 1 + greatest(m.delivery_no, 1, (
               select max(t.delivery_no) from qctl.attempt t where t.queue_id = $1 and t.msg_id = m.msg_id)),
             0, 0, 0, 0, m.due_at, case when $6 then qctl._new_webhook_id() else m.webhook_id end, $3
      from timed m
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status, last_error, replayed_at, webhook_id)
          = (greatest(excluded.delivery_no, r.delivery_no + 1), 0, 0, 0, 0, excluded.next_at, null, null, excluded.replayed_at,
             excluded.webhook_id)
    )
    select array_agg(msg_id) from queued
  $q$, v_q, v_a) into v_replayed using v_queue.queue_id, p_msg_ids, v_now, p_after_s, v_gap_s, p_new_id;

  execute format($q$
    with asked as (
      select distinct id from unnest($2::bigint[]) as id where id is not null
    ), state as materialized (
      -- Messages that already waited follow the moved ones, but no later than they were due.
      select a.id, q.enqueued_at, least(q.vt, $4 + make_interval(secs => $5 + (row_number() over (
               partition by a.id = any (coalesce($3, '{}')) order by a.id) - 1 + cardinality(coalesce($3, '{}'))) * $6)) as due_at,
             case when a.id = any (coalesce($3, '{}')) then 'replayed'
                        when f.msg_id is not null then 'in_flight'
                        when q.msg_id is null then 'unknown'
                        when q.vt > $4 then 'due_now'
                        else 'ready' end as outcome
      from asked a
      left join pgmq.%1$I q on q.msg_id = a.id
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.id and f.lapsed_at is null and q.msg_id is not null
    ), shown as (
      update pgmq.%1$I q set vt = s.due_at from state s where q.msg_id = s.id and s.outcome = 'due_now'
    ), renamed as (
      update qctl.retry r set webhook_id = qctl._new_webhook_id() from state s
      where $7 and r.queue_id = $1 and r.msg_id = s.id and r.enqueued_at = s.enqueued_at and r.replayed_at is not null and s.outcome = 'ready'
    ), due as (
      update qctl.retry r set next_at = s.due_at, webhook_id = case when $7 and r.replayed_at is not null then qctl._new_webhook_id() else r.webhook_id end
      from state s where r.queue_id = $1 and r.msg_id = s.id and r.enqueued_at = s.enqueued_at and s.outcome = 'due_now'
    )
    select jsonb_object_agg(s.id, s.outcome) from state s
  $q$, v_q) into v_outcomes using v_queue.queue_id, p_msg_ids, v_replayed, v_now, p_after_s, v_gap_s, p_new_id;

  if v_outcomes is not null then
    perform qctl._audit('replay', p_queue, jsonb_build_object(
      'reason', p_reason, 'new_id', nullif(p_new_id, false), 'per_s', p_per_s, 'asked', cardinality(p_msg_ids), 'replayed', coalesce(cardinality(v_replayed), 0),
      'msg_ids', (select jsonb_agg(x) from unnest(v_replayed) as x where cardinality(v_replayed) <= 1000),
      'ranges', (select range_agg(int8range(x, x, '[]'))::text from unnest(v_replayed) as x where cardinality(v_replayed) > 1000)));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query
  select e.key::bigint, e.value from jsonb_each_text(v_outcomes) as e union all select c, 'changed' from unnest(v_changed) c order by 1;
end
$$;
comment on function qctl.replay(text, bigint[], text, boolean, double precision, double precision, text[], integer[]) is
  'Moves finished messages back into the queue for a new delivery. p_new_id: use new webhook-ids, for receivers that already acknowledged '
  'the old ones. p_per_s: spread them at this rate in order of id, beginning after p_after_s. Outcomes: replayed; due_now (was waiting, '
  'now due); ready; in_flight (unchanged); unknown; changed (unchanged because it no longer matches p_seen_states and '
  'p_seen_delivery_nos).';
