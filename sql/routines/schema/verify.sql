-- Verify: finds what differs from the installation.

create or replace function qctl._is_declared(p_class pg_class) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select not p_class.relispartition and p_class.relname <> 'attempt_old'
$$;
comment on function qctl._is_declared(pg_class) is
  'True for a table that is part of the installation; false for partitions, which come and go.';

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
  from pg_proc p where p.pronamespace = 'qctl'::regnamespace and p.proname !~ '^capture_[0-9]+_'
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
  'Each object of schema qctl with a hash of its definition, except capture functions, which belong to their attachment.';

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

create or replace function qctl._verify_attachments(p_queue_id integer default null)
returns table (object text, problem text, fix text)
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
  with attached as (
    select a.*, q.queue_name, c.oid is not null as there,
           case when c.oid is null then a.relation::oid::text else format('%I.%I', n.nspname, c.relname) end as name
    from qctl.attachment a join qctl.queue q using (queue_id)
    left join pg_class c on c.oid = a.relation left join pg_namespace n on n.oid = c.relnamespace
    where p_queue_id is null or a.queue_id = p_queue_id
  ), expected as (
    select a.*, o.operation, r.relation as carrier
    from attached a cross join unnest(a.operations) as o (operation)
    cross join lateral qctl._captured_relations(a.relation) as r (relation)
    where a.there
  )
  select a.name, 'the table is gone', format('qctl detach %s -q %s', qctl._word(a.name), a.queue_name) from attached a where not a.there
  union all
  select e.name, format('trigger for %s is %s on %s', e.operation, case when t.oid is null then 'missing' else 'disabled' end, e.carrier),
         case when t.oid is null then format('qctl attach %s -q %s --again', qctl._word(e.name), e.queue_name)
              else format('alter table %s enable%s trigger %I;', e.carrier, case when e.replicated then ' always' else '' end, t.tgname) end
  from expected e
  left join pg_trigger t on t.tgrelid = e.carrier and t.tgname = qctl._capture_trigger(e.attachment_id, e.operation)
  where t.oid is null or t.tgenabled = 'D' or e.replicated <> (t.tgenabled = 'A')
  union all
  select a.name, format('the capture function for %s is %s', o.operation,
                        case when p.oid is null then 'missing' else 'outdated because the table was renamed or its columns changed' end),
         format('qctl attach %s -q %s --again', qctl._word(a.name), a.queue_name)
  from attached a cross join unnest(a.operations) as o (operation)
  left join pg_proc p on p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(a.attachment_id, o.operation)
  where a.there and p.prosrc is distinct from
        qctl._capture_body((select x from qctl.attachment x where x.attachment_id = a.attachment_id), a.queue_name, o.operation)
  union all
  select e.name, format('trigger for %s is disabled on %s', e.operation, t.tgrelid::regclass),
         format('alter table %s enable%s trigger %I;', t.tgrelid::regclass, case when e.replicated then ' always' else '' end, t.tgname)
  from expected e join pg_trigger t on t.tgname = qctl._capture_trigger(e.attachment_id, e.operation) and t.tgparentid <> 0
  where t.tgenabled = 'D'
  union all
  select a.name, 'events are captured without data because the table has another owner than its capture functions',
         format('qctl attach %s -q %s --again', qctl._word(a.name), a.queue_name)
  from attached a join pg_class c on c.oid = a.relation
  where not a.as_me and exists (select from qctl._capture_functions(a.attachment_id) f join pg_proc p on p.oid = f
                                where p.proowner <> c.relowner)
  union all
  select a.name,
         format('rows of inheriting tables are captured without data because those tables belong to other roles: %s',
                qctl._foreign_children(a.relation)),
         'give these tables the same owner; or: '
         || format('qctl detach %1$s -q %2$s && qctl attach %1$s -q %2$s --as-me', qctl._word(a.name), a.queue_name)
  from attached a where a.there and not a.as_me and qctl._foreign_children(a.relation) is not null
  union all
  select a.name, 'it is now a partition or child of another table, and writes through that table are not captured',
         format('qctl detach %1$s -q %2$s && qctl attach %3$s -q %2$s', qctl._word(a.name), a.queue_name, qctl._word(i.inhparent::regclass::text))
  from attached a join pg_inherits i on i.inhrelid = a.relation
  union all
  select a.name, 'rows of its new partitions or child tables are not captured because they have no trigger',
         format('qctl attach %s -q %s --again', qctl._word(a.name), a.queue_name)
  from attached a where a.there and a.level = 'statement' and qctl._by_row(a.relation, false)
  union all
  select a.name, format('column ''%s'' of the attachment does not exist', c.name),
         format('qctl detach %1$s -q %2$s && qctl attach %1$s -q %2$s  # with other --columns', qctl._word(a.name), a.queue_name)
  from attached a cross join unnest(a.columns) as c (name)
  where a.there and not exists (select from pg_attribute t where t.attrelid = a.relation and t.attname = c.name and not t.attisdropped)
  union all
  select a.name, format('%s statements were not captured since %s, SQLSTATE %s', sum(e.statements), min(e.minute), e.sqlstate),
         format('delete from qctl.capture_error where attachment_id = %s; -- when the cause is fixed', a.attachment_id)
  from attached a join qctl.capture_error e using (attachment_id) group by a.name, a.attachment_id, e.sqlstate
  order by 1, 2
$$;

create or replace function qctl._verify_tables(p_queue_name text) returns table (problem text, fix text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with t as (
    select to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null as no_queue, to_regclass(format('pgmq.%I', 'a_' || p_queue_name)) is null as no_archive
  )
  select format('pgmq''s table q_%s is gone%s', p_queue_name, case when no_archive then ', and so is its archive' else '' end),
         format('qctl drop %s --discard%s --yes', p_queue_name, case when no_archive then ' --with-archive' else '' end)
  from t where no_queue
  union all
  select format('pgmq''s table a_%s is gone', p_queue_name), format('select pgmq.create(%L);', p_queue_name) from t where no_archive and not no_queue
$$;

create or replace function qctl.verify() returns table (kind text, object text, problem text, fix text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_version integer := current_setting('server_version_num')::integer / 10000;
begin
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
  union all
  select 'queue', q.queue_name, case when m.is_unlogged then 'unlogged: a crash deletes its messages'
                                      else 'partitioned: its retention deletes undelivered messages' end,
         '-- move its messages to a queue that is logged and not partitioned'
  from qctl.queue q join pgmq.meta m on m.queue_name = q.queue_name where m.is_unlogged or m.is_partitioned
  order by 2, 3;

  return query select 'attachment', v.object, v.problem, v.fix from qctl._verify_attachments() v;

  if qctl._cron_here() then
    return query
    select 'job', w.job_name, case when h.job_name is null then 'missing' when not h.active then 'switched off' else 'changed' end,
           format('qctl scale --workers %s', (select s.workers from qctl.scheduler s))
    from qctl._wanted_jobs() w left join qctl.jobs() h on h.job_name = w.job_name
    where h.job_name is null or not h.active or h.command <> w.command or h.schedule <> w.schedule
    order by 2;
  end if;
end
$$;
comment on function qctl.verify() is
  'Differences from the installation, each with the command that fixes it: '
  'objects, pgmq''s tables, triggers, jobs. No rows: no differences.';
