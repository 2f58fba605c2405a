-- Dead letters: the only statement that creates them.

create or replace function qctl._bury(p_dying text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($q$
      insert into qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, note, status_code, error,
                                    enqueued_at, read_ct, message, headers, webhook_id, died_at, blocks_key)
      %s
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempts, lost, reason, note, status_code, error, read_ct, message, headers, webhook_id, died_at, blocks_key)
          = (excluded.delivery_no, excluded.attempts, excluded.lost, excluded.reason, excluded.note, excluded.status_code, excluded.error,
             excluded.read_ct, excluded.message, excluded.headers, excluded.webhook_id, excluded.died_at, excluded.blocks_key)
  $q$, p_dying)
$$;
comment on function qctl._bury(text) is
  'The statement, to be used in a WITH clause, that turns the rows of a query into dead letters. The query returns queue_id, msg_id, '
  'delivery_no, attempts, lost, reason, note, status_code, error, enqueued_at, read_ct, message, headers, webhook_id, died_at, blocks_key.';
