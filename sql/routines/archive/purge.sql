-- Purge: deletes old delivered messages, a limited batch per call.

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
    raise exception '% is not a valid age', p_older_than using errcode = 'QC002', hint = 'use 0 or more, for example 7 days';
  end if;
  perform qctl._add_up(least(now() - p_older_than + interval '1 h', clock_timestamp()));
  execute format($q$
    with old as materialized (
      select a.msg_id, a.archived_at, a.headers #>> '{qctl,outcome}' = 'delivered' as ours
      from pgmq.%1$I a
      where a.archived_at >= $2 and (a.archived_at, a.msg_id) > ($2, $3) and a.archived_at < $4
      order by a.archived_at, a.msg_id limit $5 for update skip locked
    ), gone as (
      delete from pgmq.%1$I a using old o where a.msg_id = o.msg_id and o.ours
      returning a.msg_id
    ), attempts as (
      -- The log stays if a message with the same id is in the queue or among the dead letters.
      delete from qctl.attempt t where t.queue_id = $1 and t.msg_id = any (array(select g.msg_id from gone g))
        and not exists (select from pgmq.%2$I q where q.msg_id = t.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
      returning 1
    )
    select (select count(*) from gone), (select count(*) from attempts), o.archived_at, o.msg_id
    from (values (1)) as always
    left join (select * from old order by archived_at, msg_id offset $5 - 1) as o on true
  $q$, 'a_' || p_queue, 'q_' || p_queue)
  into messages, attempts, next_after, next_after_id
  using v_queue.queue_id, p_after, p_after_id, now() - p_older_than, p_limit;
  return next;
end
$$;

create or replace function qctl.purge(
  p_queue text, p_older_than interval, p_after timestamptz default '-infinity', p_after_id bigint default 0,
  p_limit integer default 5000)
returns table (messages integer, attempts integer, next_after timestamptz, next_after_id bigint)
language plpgsql volatile security definer
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
  'Deletes one batch of delivered messages that were archived longer ago than that, with their attempts. Call it again with next_after and '
  'next_after_id until they are null. Never deletes unfinished or dead messages, nor messages that other programs archived.';

create or replace function qctl.purgeable(p_queue text, p_older_than interval)
returns table (messages bigint, attempts bigint, bytes bigint)
language plpgsql stable security definer
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
comment on function qctl.purgeable(text, interval) is
  'Counts what qctl.purge() would delete. Reads all of it, so it is slow on a large archive.';

create or replace function qctl.purge_preview(
  p_queue text, p_older_than interval, p_dead boolean default false, p_after timestamptz default '-infinity', p_after_id bigint default 0,
  p_limit integer default 5000)
returns table (msg_id bigint, enqueued_at text, finished_at text, headers jsonb, message text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_dead then
    return query
    select d.msg_id, d.enqueued_at::text, d.died_at::text, d.headers, d.message::text from qctl.dead_letter d
    where d.queue_id = v_queue.queue_id and (d.died_at, d.msg_id) > (p_after, p_after_id) and d.died_at < now() - p_older_than
    order by d.died_at, d.msg_id limit p_limit for update skip locked;
    return;
  end if;
  return query execute format($q$
    select a.msg_id, a.enqueued_at::text, a.archived_at::text, nullif(a.headers - 'qctl', '{}'), a.message::text
    from pgmq.%I a
    where a.archived_at >= $1 and (a.archived_at, a.msg_id) > ($1, $2) and a.archived_at < $3 and a.headers #>> '{qctl,outcome}' = 'delivered'
    order by a.archived_at, a.msg_id limit $4 for update skip locked
  $q$, 'a_' || p_queue) using p_after, p_after_id, now() - p_older_than, p_limit;
end
$$;
comment on function qctl.purge_preview(text, interval, boolean, timestamptz, bigint, integer) is
  'The next batch that a purge would delete, locked until the transaction ends: store it, then call qctl.purge_these().';

create or replace function qctl.purge_these(p_queue text, p_msg_ids bigint[], p_enqueued_at text[], p_dead boolean default false)
returns table (messages integer, attempts integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_gone bigint[];
begin
  if p_dead then
    with gone as (
      delete from qctl.dead_letter d using unnest(p_msg_ids, p_enqueued_at) as k (msg_id, enqueued_at)
      where d.queue_id = v_queue.queue_id and d.msg_id = k.msg_id and d.enqueued_at = k.enqueued_at::timestamptz returning d.msg_id
    )
    select array_agg(g.msg_id) into v_gone from gone g;
  else
    execute format($q$
      with gone as (
        delete from pgmq.%I a using unnest($1, $2) as k (msg_id, enqueued_at)
        where a.msg_id = k.msg_id and a.enqueued_at = k.enqueued_at::timestamptz and a.headers #>> '{qctl,outcome}' = 'delivered' returning a.msg_id
      )
      select array_agg(g.msg_id) from gone g
    $q$, 'a_' || p_queue) into v_gone using p_msg_ids, p_enqueued_at;
  end if;
  messages := coalesce(cardinality(v_gone), 0);
  perform qctl._add_up(clock_timestamp()) where messages > 0;
  -- The log stays if a message with the same id is elsewhere, for example after a replay.
  execute format($q$
    with logged as (
      delete from qctl.attempt t where t.queue_id = $1 and t.msg_id = any ($2)
        and not exists (select from pgmq.%1$I q where q.msg_id = t.msg_id) and not exists (select from pgmq.%2$I a where a.msg_id = t.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
      returning 1
    )
    select count(*) from logged
  $q$, 'q_' || p_queue, 'a_' || p_queue) into attempts using v_queue.queue_id, v_gone;
  if messages > 0 then
    perform qctl._audit('purge', p_queue, jsonb_build_object('dead', nullif(p_dead, false), 'messages', messages, 'attempts', attempts));
  end if;
  return next;
end
$$;
comment on function qctl.purge_these(text, bigint[], text[], boolean) is
  'Deletes these delivered messages, or with p_dead these dead letters, and their attempts. Never deletes an unfinished message.';

create or replace function qctl.purge_dead(p_queue text, p_older_than interval, p_limit integer default 5000)
returns table (messages integer, attempts integer)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select p.* from (select array_agg(v.msg_id) as ids, array_agg(v.enqueued_at) as times
                   from qctl.purge_preview(p_queue, p_older_than, true, p_limit => p_limit) v) v,
       qctl.purge_these(p_queue, v.ids, v.times, true) p
$$;
comment on function qctl.purge_dead(text, interval, integer) is
  'Deletes one batch of dead letters that are older than that. Call it until it deletes none.';

create or replace function qctl.purgeable_dead(p_queue text, p_older_than interval) returns table (messages bigint, attempts bigint, bytes bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  with old as materialized (
    select d.msg_id, pg_column_size(d.*) as size from qctl.dead_letter d
    where d.queue_id = v_queue.queue_id and d.died_at < now() - p_older_than
  )
  select count(*), (select count(*) from qctl.attempt t join old o on t.queue_id = v_queue.queue_id and t.msg_id = o.msg_id),
         coalesce(sum(o.size), 0)::bigint
  from old o;
end
$$;
comment on function qctl.purgeable_dead(text, interval) is 'Counts what qctl.purge_dead() would delete.';

create or replace function qctl.purge_leftovers(p_older_than interval) returns table (kind text, deleted bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before timestamptz := now() - p_older_than;
  v_queue qctl.queue;
  v_count bigint;
begin
  delete from qctl.throughput t where t.minute < v_before;
  get diagnostics v_count = row_count;
  return query select 'throughput', v_count;
  v_count := 0;
  -- Attempts that were logged after their message was purged.
  for v_queue in select * from qctl.queue q where to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null
                 and to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null loop
    v_count := v_count + qctl._purge_orphans(v_queue, '-infinity', v_before);
  end loop;
  return query select 'attempts', v_count;
  if qctl._cron_here() then
    begin
      delete from cron.job_run_details d
      where d.database = current_database()::text and d.command ~ '^(call qctl\.(work|maintenance)\(|select qctl\.wake_edge\()' and d.end_time < v_before;
      get diagnostics v_count = row_count;
      return query select 'runs of our jobs', v_count;
    exception when insufficient_privilege then
      return query select 'runs of our jobs', 0::bigint;
    end;
  end if;
end
$$;
comment on function qctl.purge_leftovers(interval) is
  'Deletes statistics, the history of qctl''s jobs in pg_cron, and attempts whose message is gone, all older than that.';

create or replace function qctl.archive_size(p_queue text) returns table (bytes bigint, bytes_per_day bigint, retention_s integer)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_archive regclass := to_regclass(format('pgmq.%I', 'a_' || p_queue));
  v_rows double precision;
  v_daily double precision;
begin
  retention_s := v_queue.retention_s;
  if v_archive is not null then
    select sum(pg_total_relation_size(t.part)), sum(greatest(c.reltuples, 0)) into bytes, v_rows
    from qctl._parts(v_archive) as t (part) join pg_class c on c.oid = t.part;
    select sum(t.delivered) into v_daily from qctl.throughput t
    where t.queue_id = v_queue.queue_id and t.minute > statement_timestamp() - interval '1 day';
    if v_rows > 0 and v_daily > 0 then
      bytes_per_day := bytes / v_rows * v_daily;
    end if;
  end if;
  return next;
end
$$;
comment on function qctl.archive_size(text) is
  'The size of a queue''s archive on disk, its growth in the last day, and its retention; null if unknown.';
