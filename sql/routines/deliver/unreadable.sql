-- Unreadable: a message that cannot be turned into a request harms no other.

create or replace function qctl._set_aside_unreadable(p_queue qctl.queue, p_now timestamptz, p_most integer) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
  v_error text;
  v_count integer := 0;
begin
  for v_id in
    execute format('select q.msg_id from pgmq.%I q where q.vt <= $1 order by q.vt limit $2', 'q_' || p_queue.queue_name)
      using p_now, greatest(p_most, 1)
  loop
    begin
      execute format($q$
        select octet_length(convert_to(coalesce(q.message::text, 'null'), 'UTF8')), qctl._request_headers('{}', q.headers),
               qctl.webhook_id($2, q.msg_id, q.enqueued_at)
        from pgmq.%I q where q.msg_id = $1
      $q$, 'q_' || p_queue.queue_name) using v_id, p_queue.queue_uuid;
    exception when data_exception or program_limit_exceeded or internal_error or insufficient_resources then
      v_error := format('cannot be read: %s', left(sqlerrm, 400));
      execute format($q$
        with dying as (
          delete from pgmq.%I q where q.msg_id = $2 returning q.msg_id, q.enqueued_at, q.read_ct, q.message, q.headers
        ), buried as (%s), forgotten as (
          delete from qctl.retry r using dying d where r.queue_id = $1 and r.msg_id = d.msg_id and r.enqueued_at = d.enqueued_at
        )
        select count(*) from dying
      $q$, 'q_' || p_queue.queue_name, qctl._bury($b$
          select $1, d.msg_id, coalesce(r.delivery_no, 1), coalesce(r.attempts, 0), coalesce(r.lost, 0), 'unreadable', null, null, $3,
                 d.enqueued_at, d.read_ct, d.message, d.headers, r.webhook_id, $4, null
          from dying d left join qctl.retry r on r.queue_id = $1 and r.msg_id = d.msg_id and r.enqueued_at = d.enqueued_at $b$))
        using p_queue.queue_id, v_id, v_error, p_now;
      perform qctl._emit('message.dead', p_queue.queue_name, jsonb_build_object('dead', 1, 'url', p_queue.url), '1 h');
      v_count := v_count + 1;
    end;
  end loop;
  return v_count;
end
$$;
comment on function qctl._set_aside_unreadable(qctl.queue, timestamptz, integer) is
  'Makes dead letters of those of the next messages that cannot be turned into a request, whatever of them, so that one harms no other; '
  'returns how many. The caller holds the gate.';
