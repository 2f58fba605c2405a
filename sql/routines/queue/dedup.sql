-- Deduplication: enqueues one message for a key within a window, even if several sessions send it several times.

create or replace function qctl.send_once(
  p_queue text, p_message jsonb, p_dedup_key text, p_window interval default '24 h', p_headers jsonb default null,
  p_delay_s double precision default 0, p_order_key text default null, p_audit boolean default false)
returns table (msg_id bigint, duplicate boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_dedup_key is null or length(p_dedup_key) not between 1 and 200 then
    raise exception 'the dedup key must have 1 to 200 characters'
      using errcode = 'QC002', hint = 'for example the id of the order, or a hash of the event';
  end if;
  if p_window is null or p_window <= interval '0' or p_window > interval '90 days' then
    raise exception 'the dedup window must be more than 0 and at most 90 days' using errcode = 'QC002';
  end if;
  -- If two sessions send one key at once, the second waits here until the first transaction ends and then sees its result.
  insert into qctl.dedup as d (queue_id, dedup_key, expires_at)
  values (v_queue.queue_id, p_dedup_key, clock_timestamp() + p_window)
  on conflict (queue_id, dedup_key) do update set msg_id = null, expires_at = excluded.expires_at where d.expires_at <= clock_timestamp();
  if not found then
    return query select d.msg_id, true from qctl.dedup d where d.queue_id = v_queue.queue_id and d.dedup_key = p_dedup_key;
    return;
  end if;
  select s into msg_id from qctl.send(p_queue, array[p_message], p_headers, p_delay_s, p_audit, p_order_key) s;
  update qctl.dedup d set msg_id = send_once.msg_id where d.queue_id = v_queue.queue_id and d.dedup_key = p_dedup_key;
  duplicate := false;
  return next;
end
$$;
comment on function qctl.send_once(text, jsonb, text, interval, jsonb, double precision, text, boolean) is
  'Enqueues a message unless one with this key was enqueued within its window. In '
  'that case it returns the id of that message, with duplicate true.';
