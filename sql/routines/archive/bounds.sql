-- Bounds: what keeps each table of schema qctl from growing for ever. Each function does a limited portion and returns how many rows it
-- deleted.

create or replace function qctl._upkeep_cursor(p_step text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select s.cursor from qctl.upkeep_step s where s.step = p_step
$$;

create or replace function qctl._set_upkeep_cursor(p_step text, p_cursor text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into qctl.upkeep_step as s (step, cursor) values (p_step, p_cursor)
  on conflict (step) do update set cursor = excluded.cursor where s.cursor is distinct from excluded.cursor
$$;

create or replace function qctl._forget_dedup_keys() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_count integer;
begin
  delete from qctl.dedup d
  where d.ctid = any (array(select o.ctid from qctl.dedup o where o.expires_at <= statement_timestamp() order by o.expires_at limit 10000 for update skip locked));
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl._forget_dedup_keys() is 'Deletes up to 10,000 keys whose window has ended; returns how many.';

create or replace function qctl._forget_audit() returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_most constant bigint := 100000;
  v_count integer;
begin
  delete from qctl.audit a
  where a.audit_id = any (array(select o.audit_id from qctl.audit o
                                where o.audit_id <= (select max(m.audit_id) from qctl.audit m) - c_most
                                   or o.at < statement_timestamp() - interval '400 days'
                                order by o.audit_id limit 10000));
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl._forget_audit() is 'Deletes records beyond the last 100,000, and those older than 400 days.';

create or replace function qctl._forget_small() returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
  v_sum integer := 0;
begin
  delete from qctl.capture_error e where e.minute < statement_timestamp() - interval '30 days';
  get diagnostics v_count = row_count;
  v_sum := v_sum + v_count;
  delete from qctl.capture_error e
  where e.ctid = any (array(select o.ctid from qctl.capture_error o order by o.minute desc offset 10000 limit 10000));
  get diagnostics v_count = row_count;
  v_sum := v_sum + v_count;
  delete from qctl.worker w
  where w.worker_id = any (array(select o.worker_id from qctl.worker o where o.stopped_at is not null order by o.stopped_at desc offset 1000 limit 10000));
  get diagnostics v_count = row_count;
  v_sum := v_sum + v_count;
  delete from qctl.event_last e where e.at < statement_timestamp() - interval '30 days';
  get diagnostics v_count = row_count;
  return v_sum + v_count;
end
$$;
comment on function qctl._forget_small() is
  'Deletes capture errors older than 30 days or beyond the last 10,000, stopped workers beyond the last 1,000, and events last sent 30 days ago.';

create or replace function qctl._forget_retries() returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_page constant integer := 5000;
  v_after bigint[] := coalesce(qctl._upkeep_cursor('forget_retries'), '{0,0}')::bigint[];
  v_id integer;
  v_name text;
  v_seen integer;
  v_last bigint;
  v_count integer := 0;
begin
  select min(r.queue_id) into v_id from qctl.retry r where (r.queue_id, r.msg_id) > (v_after[1]::integer, v_after[2]);
  if v_id is not null then
    select q.queue_name into v_name from qctl.queue q where q.queue_id = v_id;
    select count(*), max(p.msg_id) into v_seen, v_last
    from (select r.msg_id from qctl.retry r where r.queue_id = v_id and r.msg_id > case when v_id = v_after[1] then v_after[2] else 0 end
          order by r.msg_id limit c_page) p;
    if v_name is null then
      delete from qctl.retry r where r.queue_id = v_id and r.msg_id <= v_last;
      get diagnostics v_count = row_count;
    elsif to_regclass(format('pgmq.%I', 'q_' || v_name)) is not null then
      execute format($q$
        delete from qctl.retry r where r.queue_id = $1 and r.msg_id > $2 and r.msg_id <= $3
          and not exists (select from pgmq.%I q where q.msg_id = r.msg_id)
      $q$, 'q_' || v_name) using v_id, case when v_id = v_after[1] then v_after[2] else 0 end, v_last;
      get diagnostics v_count = row_count;
    end if;
  end if;
  perform qctl._set_upkeep_cursor('forget_retries', case when v_id is not null then format('{%s,%s}', v_id, v_last) end);
  return v_count;
end
$$;
comment on function qctl._forget_retries() is
  'Looks at the next 5,000 retries and deletes those whose message another program has taken out of its queue.';

create or replace function qctl._forget_attempts() returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_page constant integer := 2000;
  v_after text[] := coalesce(qctl._upkeep_cursor('forget_attempts'), '{0,-infinity}')::text[];
  v_queue qctl.queue;
  v_from timestamptz;
  v_to timestamptz;
  v_seen integer;
  v_count integer := 0;
begin
  select * into v_queue from qctl.queue q
  where q.queue_id >= v_after[1]::integer and q.retention_s is not null and not qctl._is_partitioned(q.queue_name)
    and to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null and to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null
  order by q.queue_id limit 1;
  if not found then
    perform qctl._set_upkeep_cursor('forget_attempts', null);
    return 0;
  end if;
  v_from := case when v_queue.queue_id = v_after[1]::integer then v_after[2]::timestamptz else '-infinity' end;
  select count(*), max(p.settled_at) into v_seen, v_to
  from (select t.settled_at from qctl.attempt t
        where t.queue_id = v_queue.queue_id and t.settled_at > v_from and t.settled_at < statement_timestamp() - make_interval(secs => v_queue.retention_s)
        order by t.settled_at limit c_page) p;
  if v_seen > 0 then
    v_count := qctl._purge_orphans(v_queue, v_from, v_to);
  end if;
  perform qctl._set_upkeep_cursor('forget_attempts',
    case when v_seen = c_page then array[v_queue.queue_id::text, v_to::text] else array[(v_queue.queue_id + 1)::text, '-infinity'] end::text);
  return v_count;
end
$$;
comment on function qctl._forget_attempts() is
  'Looks at the next 2,000 attempts older than the retention of their queue and deletes those whose message is gone: they were logged late.';

create or replace function qctl._purge_orphans(p_queue qctl.queue, p_after timestamptz, p_to timestamptz) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  perform qctl._add_up(p_to);
  execute format($q$
    delete from qctl.attempt t where t.queue_id = $1 and t.settled_at > $2 and t.settled_at <= $3
      and not exists (select from pgmq.%1$I q where q.msg_id = t.msg_id) and not exists (select from pgmq.%2$I a where a.msg_id = t.msg_id) %3$s
      and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
  $q$, 'q_' || p_queue.queue_name, 'a_' || p_queue.queue_name,
    -- Rows that wait to be moved into the partitions of a new archive.
    case when to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name || '_old')) is not null
         then format('and not exists (select from pgmq.%I o where o.msg_id = t.msg_id)', 'a_' || p_queue.queue_name || '_old') end)
  using p_queue.queue_id, p_after, p_to;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl._purge_orphans(qctl.queue, timestamptz, timestamptz) is
  'Deletes attempts settled in that time whose message is in neither queue nor archive nor among the dead letters.';
