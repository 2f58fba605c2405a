-- Verify: finds what differs from the installation.

create or replace function qctl._is_declared(p_class pg_class) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select not p_class.relispartition and p_class.relname <> 'attempt_old'
$$;
comment on function qctl._is_declared(pg_class) is
  'True for a table that is part of the installation; false for partitions, which come and go.';

create or replace function qctl._is_generated(p_name name) returns boolean
language sql immutable
return p_name ~ '^capture_' or p_name ~ '^_(pick|lock|archive)_[0-9a-f]{32}$';
comment on function qctl._is_generated(name) is 'True for a function of an attachment or of a queue, which are not part of the installation.';

create or replace function qctl._objects() returns table (kind text, identity text, definition text)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set quote_all_identifiers = off
set extra_float_digits = 1
as $$
  select case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid))
  from pg_proc p where p.pronamespace = 'qctl'::regnamespace and not qctl._is_generated(p.proname)
  union all
  select 'view', c.oid::regclass::text, md5(pg_get_viewdef(c.oid)) from pg_class c
  where c.relnamespace = 'qctl'::regnamespace and c.relkind = 'v' and c.relname !~ '_status$'
  union all
  select 'table', c.oid::regclass::text,
         md5(c.relpersistence::text || string_agg(format('%s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                                pg_get_expr(d.adbin, d.adrelid)), ',' order by a.attname))
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p') and qctl._is_declared(c)
  group by c.oid, c.relpersistence
  union all
  select 'index', i.indexrelid::regclass::text, md5(pg_get_indexdef(i.indexrelid)) from pg_index i
  join pg_class c on c.oid = i.indrelid
  where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p') and qctl._is_declared(c) and i.indisvalid
  union all
  select 'constraint', format('%s on %s', n.conname, n.conrelid::regclass), md5(pg_get_constraintdef(n.oid)) from pg_constraint n
  join pg_class c on c.oid = n.conrelid where c.relnamespace = 'qctl'::regnamespace and n.contype in ('c', 'f', 'p', 'u') and qctl._is_declared(c)
$$;
comment on function qctl._objects() is
  'Each object of schema qctl with a hash of its definition, except functions of attachments and of queues.';

create or replace function qctl._remember_objects() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from qctl.object;
  insert into qctl.object (kind, identity, definition, server_version)
  select o.kind, o.identity, o.definition, current_setting('server_version_num')::integer / 10000 from qctl._objects() o;
end
$$;

create or replace function qctl._verify_tables(p_queue_name text) returns table (problem text, fix text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with t as (
    select to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null as no_queue, to_regclass(format('pgmq.%I', 'a_' || p_queue_name)) is null as no_archive
  )
  select case when no_queue then format('pgmq''s table q_%s is gone%s', p_queue_name, case when no_archive then ', and so is its archive' else '' end)
              else format('pgmq''s table a_%s is gone', p_queue_name) end, 'qctl upgrade --repair'
  from t where no_queue or no_archive
$$;

create or replace function qctl.verify(p_queue text) returns table (kind text, object text, problem text, fix text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_version integer := current_setting('server_version_num')::integer / 10000;
  v_queue_id integer;
begin
  if p_queue is not null then
    v_queue_id := (qctl._queue(p_queue)).queue_id;
  end if;
  -- Another major version may print the same definition differently.
  return query
  select k.kind, k.identity, case when o.identity is null then 'missing' else 'changed' end,
         case when k.kind in ('function', 'procedure', 'view') then 'qctl upgrade --repair'
              else '-- restore it as defined in sql/schema.sql' end
  from qctl.object k left join qctl._objects() o on o.kind = k.kind and o.identity = k.identity
  where o.identity is null or (o.definition <> k.definition and k.server_version = v_version)
  order by 1, 2;

  return query
  select 'queue', q.queue_name, v.problem, v.fix from qctl.queue q cross join lateral qctl._verify_tables(q.queue_name) v
  where v_queue_id is null or q.queue_id = v_queue_id order by 2, 3;
  return query
  select 'queue', q.queue_name, v.problem, v.fix from qctl.queue q cross join lateral qctl._verify_queue_functions(q) v
  where v_queue_id is null or q.queue_id = v_queue_id order by 2, 3;
  if to_regclass('pgmq.meta') is null then
    return query select 'extension', 'pgmq', 'it is not in this database any more', 'qctl upgrade --repair';
  else
    return query
    select 'queue', q.queue_name, case when m.is_unlogged then 'unlogged: a crash deletes its messages'
                                        else 'partitioned: its retention deletes undelivered messages' end,
           '-- move its messages to a queue that is logged and not partitioned'
    from qctl.queue q join pgmq.meta m on m.queue_name = q.queue_name where (m.is_unlogged or m.is_partitioned) and (v_queue_id is null or q.queue_id = v_queue_id)
    order by 2;
  end if;

  return query select 'attachment', v.object, v.problem, v.fix from qctl._verify_attachments(v_queue_id) v;

  if qctl._cron_here() then
    return query
    select 'job', w.job_name, case when h.job_name is null then 'missing' when not h.active then 'switched off' else 'changed' end,
           case when w.job_name = 'qctl-edge' then 'qctl edge wake' else format('qctl scale --workers %s', (select s.workers from qctl.scheduler s)) end
    from qctl._wanted_jobs() w left join qctl.jobs() h on h.job_name = w.job_name
    where h.job_name is null or not h.active or h.command <> w.command or h.schedule <> w.schedule
    order by 2;
  end if;
end
$$;
comment on function qctl.verify(text) is
  'Differences from the installation, each with the command that fixes it: '
  'objects, pgmq''s tables, triggers, jobs. With p_queue only the tables and triggers of that queue, and what all queues share. No rows: no differences.';

-- A function of its own, because views may depend on it.
create or replace function qctl.verify() returns table (kind text, object text, problem text, fix text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl.verify(null)
$$;
comment on function qctl.verify() is 'As qctl.verify(text) for all queues.';
