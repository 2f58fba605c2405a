-- Send: enqueues messages by hand.

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
    raise exception 'the delay must be between 0 and 10 years' using errcode = 'QC002';
  end if;
  if p_order_key is not null and length(p_order_key) not between 1 and 200 then
    raise exception 'the order key must have 1 to 200 characters' using errcode = 'QC002';
  elsif p_order_key is not null and not v_queue.ordered then
    raise exception 'queue ''%'' is not ordered, so it takes no order key', p_queue
      using errcode = 'QC007', hint = format('qctl set -q %s --ordered', p_queue);
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
  'Enqueues messages with the same headers and delay; returns their ids in order. p_audit: record the call in the audit, without the '
  'messages. p_order_key: deliver messages with this key one at a time, in order.';
