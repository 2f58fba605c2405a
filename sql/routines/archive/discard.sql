-- Discard: turns unfinished messages into dead letters, with a reason.

create or replace function qctl.discard(
  p_queue text, p_msg_ids bigint[], p_reason text default null, p_seen_states text[] default null, p_seen_delivery_nos integer[] default null)
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
  v_discarded bigint[];
  v_changed bigint[] := '{}';
  v_unblocked bigint[];
  v_keys text[];
begin
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', 'q_' || p_queue) using p_msg_ids;
  if p_seen_states is not null then
    v_changed := qctl._changed(p_queue, p_msg_ids, p_seen_states, p_seen_delivery_nos);
    p_msg_ids := array(select id from unnest(p_msg_ids) as id where not id = any (v_changed));
  end if;
  v_discarded := qctl._discard(v_queue, p_msg_ids, p_reason);
  with freed as (
    update qctl.dead_letter d set blocks_key = null, note = coalesce(left(p_reason, 500), d.note)
    from (select o.msg_id, o.enqueued_at, o.blocks_key from qctl.dead_letter o
          where o.queue_id = v_queue.queue_id and o.msg_id = any (p_msg_ids) and o.blocks_key is not null order by o.msg_id for update) o
    where d.queue_id = v_queue.queue_id and d.msg_id = o.msg_id and d.enqueued_at = o.enqueued_at
    returning d.msg_id, o.blocks_key
  )
  select array_agg(f.msg_id), array_agg(distinct f.blocks_key) into v_unblocked, v_keys from freed f;
  if v_keys is not null then
    perform qctl._show_next(v_queue, v_keys);
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query
  select a.id,
         case when a.id = any (v_discarded) then 'discarded'
              when a.id = any (v_unblocked) then 'unblocked'
              when exists (select from qctl.locate(a.id, p_queue)) then 'finished'
              else 'unknown' end
  from (select distinct id from unnest(p_msg_ids) as id where id is not null) a
  union all select c, 'changed' from unnest(v_changed) c order by 1;
  if cardinality(v_discarded) > 0 or v_unblocked is not null then
    perform qctl._audit('discard', p_queue, jsonb_build_object(
      'reason', p_reason, 'asked', cardinality(p_msg_ids), 'discarded', cardinality(v_discarded), 'unblocked', to_jsonb(v_unblocked),
      'msg_ids', (select jsonb_agg(x) from unnest(v_discarded) as x where cardinality(v_discarded) <= 1000),
      'ranges', (select range_agg(int8range(x, x, '[]'))::text from unnest(v_discarded) as x where cardinality(v_discarded) > 1000)));
  end if;
end
$$;
comment on function qctl.discard(text, bigint[], text, text[], integer[]) is
  'Moves unfinished messages to the dead letters and stores the reason. A message in flight is moved too; a late success still counts. '
  'Outcomes: discarded; unblocked (a dead letter no longer blocks its order key); finished (already finished); unknown; changed (as in '
  'qctl.replay).';

create or replace function qctl._discard(p_queue qctl.queue, p_msg_ids bigint[], p_reason text) returns bigint[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_discarded bigint[];
  v_keys text[];
begin
  execute format($q$
    with known as materialized (
      select q.msg_id, q.enqueued_at, coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempts, 0) as attempts,
             coalesce(r.lost, 0) as lost, r.last_status, r.last_error, r.webhook_id
      from pgmq.%1$I q
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
      where $2 is null or q.msg_id = any ($2)
    ), gone as (
      delete from pgmq.%1$I q using known k where q.msg_id = k.msg_id
      returning q.msg_id, q.enqueued_at, q.read_ct, q.message, q.headers, k.delivery_no, k.attempts, k.lost, k.last_status,
                k.last_error, k.webhook_id
    ), buried as (%2$s), forgotten as (
      delete from qctl.retry r using known k where r.queue_id = $1 and r.msg_id = k.msg_id and r.enqueued_at = k.enqueued_at
    )
    select array_agg(g.msg_id order by g.msg_id), array_agg(distinct qctl._order_key(g.headers)) filter (where g.headers ? 'x-pgmq-group')
    from gone g
  $q$, 'q_' || p_queue.queue_name, qctl._bury($b$
      select $1, g.msg_id, g.delivery_no, g.attempts, g.lost, 'discarded', left($3, 500), g.last_status, g.last_error,
             g.enqueued_at, g.read_ct, g.message, g.headers, g.webhook_id, clock_timestamp(), null
      from gone g $b$)) into v_discarded, v_keys using p_queue.queue_id, p_msg_ids, p_reason;
  if p_queue.ordered and v_keys is not null then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  return coalesce(v_discarded, '{}');
end
$$;
comment on function qctl._discard(qctl.queue, bigint[], text) is
  'Discards these messages, or every message of the queue if p_msg_ids is null.';
