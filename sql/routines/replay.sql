-- Replay: deliver a finished message again.

create or replace function qctl.replay(p_queue text, p_msg_ids bigint[], p_reason text default null)
returns table (msg_id bigint, outcome text)
language plpgsql volatile
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
begin
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_ids;
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
    ), queued as (
      insert into pgmq.%1$I (msg_id, read_ct, enqueued_at, vt, message, headers) overriding system value
      select m.msg_id, m.read_ct, m.enqueued_at, $3, m.message, m.headers from moving m
      returning msg_id
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   webhook_id, replayed_at)
      select $1, m.msg_id, m.enqueued_at, 1 + greatest(m.delivery_no, 1, (
               select max(t.delivery_no) from qctl.attempt t where t.queue_id = $1 and t.msg_id = m.msg_id)),
             0, 0, 0, 0, $3, m.webhook_id, $3
      from moving m
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status, last_error, replayed_at)
          = (greatest(excluded.delivery_no, r.delivery_no + 1), 0, 0, 0, 0, excluded.next_at, null, null, excluded.replayed_at)
    )
    select array_agg(msg_id) from queued
  $q$, v_q, v_a) into v_replayed using v_queue.queue_id, p_msg_ids, v_now;

  execute format($q$
    with asked as (
      select distinct id from unnest($2::bigint[]) as id where id is not null
    ), state as materialized (
      select a.id, q.enqueued_at,
             case when a.id = any (coalesce($3, '{}')) then 'replayed'
                        when f.msg_id is not null then 'in_flight'
                        when q.msg_id is null then 'unknown'
                        when q.vt > $4 then 'due_now'
                        else 'ready' end as outcome
      from asked a
      left join pgmq.%1$I q on q.msg_id = a.id
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.id and f.lapsed_at is null and q.msg_id is not null
    ), shown as (
      update pgmq.%1$I q set vt = $4 from state s where q.msg_id = s.id and s.outcome = 'due_now'
    ), due as (
      update qctl.retry r set next_at = $4 from state s where r.queue_id = $1 and r.msg_id = s.id and r.enqueued_at = s.enqueued_at and s.outcome = 'due_now'
    )
    select jsonb_object_agg(s.id, s.outcome) from state s
  $q$, v_q) into v_outcomes using v_queue.queue_id, p_msg_ids, v_replayed, v_now;

  if v_outcomes is not null then
    perform qctl._audit('replay', p_queue, jsonb_build_object(
      'reason', p_reason, 'asked', cardinality(p_msg_ids), 'replayed', coalesce(cardinality(v_replayed), 0),
      'msg_ids', (select jsonb_agg(x) from unnest(v_replayed) as x where cardinality(v_replayed) <= 1000),
      'ranges', (select range_agg(int8range(x, x, '[]'))::text from unnest(v_replayed) as x where cardinality(v_replayed) > 1000)));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query select e.key::bigint, e.value from jsonb_each_text(v_outcomes) as e order by 1;
end
$$;
comment on function qctl.replay(text, bigint[], text) is
  'Moves finished messages back into the queue for a new delivery. Outcomes: replayed; due_now (was waiting, is tried now); '
  'ready; in_flight (left alone); unknown.';
