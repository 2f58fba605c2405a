-- Purge: remove old delivered history, a bounded batch a call.

create or replace function qctl._purge(
  p_queue text, p_older_than interval, p_after timestamptz, p_after_id bigint, p_limit integer)
returns table (messages integer, attempts integer, next_after timestamptz, next_after_id bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_older_than is null or p_older_than < interval '0' then
    raise exception 'an age of % makes no sense', p_older_than using errcode = 'QC002';
  end if;
  execute format($q$
    with old as materialized (
      select a.msg_id, a.archived_at, a.headers #>> '{qctl,outcome}' = 'delivered' as ours
      from pgmq.%1$I a
      where a.archived_at >= $2 and (a.archived_at, a.msg_id) > ($2, $3) and a.archived_at < $4
      order by a.archived_at, a.msg_id limit $5
    ), gone as (
      delete from pgmq.%1$I a using old o where a.msg_id = o.msg_id and o.ours
      returning a.msg_id
    ), attempts as (
      delete from qctl.attempt t where t.queue_id = $1 and t.msg_id = any (array(select g.msg_id from gone g)) returning 1
    )
    select (select count(*) from gone), (select count(*) from attempts), o.archived_at, o.msg_id
    from (values (1)) as always
    left join (select * from old order by archived_at, msg_id offset $5 - 1) as o on true
  $q$, 'a_' || p_queue)
  into messages, attempts, next_after, next_after_id
  using v_queue.queue_id, p_after, p_after_id, now() - p_older_than, p_limit;
  return next;
end
$$;

create or replace function qctl.purge(
  p_queue text, p_older_than interval, p_after timestamptz default '-infinity', p_after_id bigint default 0,
  p_limit integer default 5000)
returns table (messages integer, attempts integer, next_after timestamptz, next_after_id bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  select p.* into messages, attempts, next_after, next_after_id
  from qctl._purge(p_queue, p_older_than, p_after, p_after_id, p_limit) p;
  if messages > 0 then
    perform qctl._audit('purge', p_queue, jsonb_build_object('older_than', p_older_than, 'messages', messages, 'attempts', attempts));
  end if;
  return next;
end
$$;
comment on function qctl.purge(text, interval, timestamptz, bigint, integer) is
  'Deletes one batch of delivered messages archived longer ago than that, with their attempts. Call again with '
  'next_after and next_after_id until they are null. Never touches unfinished or dead messages, nor what others archived.';

create or replace function qctl.purgeable(p_queue text, p_older_than interval)
returns table (messages bigint, attempts bigint, bytes bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  execute format($q$
    with old as materialized (
      select a.msg_id, pg_column_size(a.*) as size from pgmq.%1$I a
      where a.archived_at < $2 and a.headers #>> '{qctl,outcome}' = 'delivered'
    )
    select count(*), (select count(*) from qctl.attempt t join old o on t.queue_id = $1 and t.msg_id = o.msg_id),
           coalesce(sum(o.size), 0)
    from old o
  $q$, 'a_' || p_queue)
  into messages, attempts, bytes using v_queue.queue_id, now() - p_older_than;
  return next;
end
$$;
comment on function qctl.purgeable(text, interval) is 'What purge would delete. Reads all of it: slow on a large archive.';
