-- Life: everything that happened to one message, and what comes next.

create or replace function qctl._captured_from(p_message jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- Shows only names of the catalog and verbs of the list, because any sender can write these fields and they are part of the payload.
  select format('captured from %s on %s', v.verb, c.oid::regclass)
  from unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) as v (verb), pg_namespace n join pg_class c on c.relnamespace = n.oid
  where jsonb_typeof(p_message) = 'object' and v.verb in (p_message ->> 'operation', p_message ->> 'type')
    and n.nspname = p_message ->> 'schema' and c.relname = p_message ->> 'table'
  limit 1
$$;

create or replace function qctl.life(p_queue text, p_msg_id bigint)
returns table (at timestamptz, event text, delivery_no integer, attempt_no integer, status_code integer, duration_ms integer,
               error text, response text, actor text, detail text, until timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_message record;
  v_mark jsonb;
begin
  for v_message in select * from qctl.message(p_queue, p_msg_id) loop
    if v_message.state = 'delivered' then
      execute format('select a.headers -> ''qctl'' from pgmq.%I a where a.msg_id = $1 order by a.archived_at desc limit 1', 'a_' || p_queue)
        into v_mark using p_msg_id;
    end if;
    return query
    select * from (
      select v_message.enqueued_at, 'enqueued', null::integer, null::integer, null::integer, null::integer, null::text, null::text, null::text,
             coalesce(qctl._captured_from(v_message.message),
                      case when v_message.message ? 'table' then 'sent, or captured by an attachment that no longer exists' else 'sent' end),
             null::timestamptz
      union all
      select t.claimed_at, t.outcome, t.delivery_no, t.attempt_no, t.status_code, t.duration_ms, t.error, t.response, w.name,
             case when t.next_at is not null then 'next attempt' end, t.next_at
      from qctl.attempt t left join qctl.worker w using (worker_id) where t.queue_id = v_queue.queue_id and t.msg_id = p_msg_id
      union all
      select f.claimed_at, case when f.lapsed_at is null then 'in_flight' else 'lapsed' end, f.delivery_no, f.attempt_no, null, null, null, null, w.name,
             case when f.lapsed_at is null then 'lease ends' else 'no answer, a late success still counts; lease ended' end,
             coalesce(f.lapsed_at, f.expires_at)
      from qctl.in_flight f left join qctl.worker w using (worker_id) where f.queue_id = v_queue.queue_id and f.msg_id = p_msg_id
      union all
      select a.at, a.verb, null, null, null, null, null, null, a.actor, a.detail ->> 'reason', null
      from qctl.audit a
      where a.verb in ('replay', 'discard') and a.queue_name = p_queue and a.at >= coalesce(v_message.enqueued_at, '-infinity')
        and (a.detail -> 'msg_ids' @> to_jsonb(p_msg_id) or (a.detail ->> 'ranges')::int8multirange @> p_msg_id)
      union all
      select v_message.finished_at, case v_message.state when 'delivered' then 'archived' else v_message.state end, v_message.delivery_no, null,
             null, null, null, null, v_mark ->> 'worker',
             case v_message.state when 'dead' then concat_ws(': ', v_message.reason, v_message.note)
                                  when 'archived' then 'by another program than qctl' else 'receipt: ' || (v_mark ->> 'receipt') end, null
      where v_message.finished_at is not null
    ) e order by 1 nulls first, 3 nulls first, 4;

    at := case v_message.state when 'retrying' then v_message.next_at when 'delayed' then v_message.visible_at
               when 'delivered' then v_message.finished_at + make_interval(secs => v_queue.retention_s) end;
    event := 'next';
    detail := case v_message.state
      when 'ready' then 'attempt as soon as a worker claims it'
      when 'retrying' then format('attempt %s of %s', v_message.attempts + 1, cardinality(v_queue.retry_schedule_s) + 1)
      when 'delayed' then 'becomes ready'
      when 'in_flight' then 'the answer, or the end of the lease'
      when 'delivered' then case when v_queue.retention_s is null then 'nothing; kept until purged'
                                 else 'deleted by the retention of its queue' end
      when 'dead' then format('nothing, unless replayed: qctl replay %s/%s', p_queue, p_msg_id)
      else format('nothing, unless replayed: qctl replay %s/%s', p_queue, p_msg_id) end
      || case when v_message.state in ('ready', 'retrying', 'delayed')
              then coalesce((select format(' (but %s: %s)', s.cause, split_part(s.reason, '; see: ', 1)) from qctl.delivery_stop(p_queue) s), '') else '' end;
    delivery_no := null; attempt_no := null; status_code := null; duration_ms := null; error := null; response := null; actor := null; until := null;
    return next;
  end loop;
end
$$;
comment on function qctl.life(text, bigint) is
  'The history of a message in order: enqueued, each attempt, lapsed leases, '
  'replays and discards with actor and reason, its end, and what comes next.';
