-- Doctor's findings about the server and the database: versions, settings, copies, replication, roles.

create or replace function qctl._doctor_versions() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when e.extname = 'pgmq' and e.extversion in ('1.10.0', '1.10.1') then 'broken' else 'warning' end, 'extension', e.extname::text,
         case when e.extname = 'pgmq' and e.extversion in ('1.10.0', '1.10.1')
              then format('version %s breaks existing queues', e.extversion)
              else format('its SQL objects have version %s, but its library has version %s', e.extversion, a.default_version) end,
         format('alter extension %I update;', e.extname)
  from pg_extension e join pg_available_extensions a on a.name = e.extname
  where e.extname in ('pgmq', 'pg_net', 'pg_cron') and e.extversion <> a.default_version
$$;

create or replace function qctl._doctor_members() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'warning', 'queue', q.queue_name,
         format('its tables are members of the extension pgmq, so a dump lacks its messages and it cannot be dropped; role %s may take them out',
                (select pg_get_userbyid(e.extowner) from pg_extension e where e.extname = 'pgmq')),
         'qctl upgrade --repair'
  from qctl.queue q where exists (select from qctl._member_tables(q.queue_name)) order by q.queue_name
$$;

create or replace function qctl._doctor_replication() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'warning', 'publication', p.pubname::text,
         'it carries tables of qctl and pgmq: a database that takes it in delivers their messages again if it is armed, and stops at their unique indexes if it has its own',
         case when p.puballtables
              then format('drop publication %I;', p.pubname)
                   || coalesce(format(' create publication %I for table %s with (publish = %L, publish_via_partition_root = %s);', p.pubname,
                        string_agg(format('%I.%I', t.schemaname, t.tablename), ', ' order by 1) filter (where t.schemaname not in ('qctl', 'pgmq', 'cron', 'net')),
                        concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end,
                                  case when p.pubtruncate then 'truncate' end), p.pubviaroot::text), '')
              else format('alter publication %I drop %s;', p.pubname, coalesce(
                'table ' || (select string_agg(r.prrelid::regclass::text, ', ' order by 1) from pg_publication_rel r join pg_class c on c.oid = r.prrelid
                             where r.prpubid = p.oid and c.relnamespace in ('qctl'::regnamespace, 'pgmq'::regnamespace)),
                'tables in schema ' || string_agg(distinct t.schemaname, ', ') filter (where t.schemaname in ('qctl', 'pgmq')))) end
  from pg_publication p join pg_publication_tables t on t.pubname = p.pubname
  group by p.oid, p.pubname, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot
  having bool_or(t.schemaname in ('qctl', 'pgmq'))
  union all
  select 'broken', 'subscription', s.subname::text, 'it writes into the tables of qctl and pgmq in this database, which have rows of their own',
         format('alter subscription %I refresh publication; -- after the fix that qctl doctor names on the publisher', s.subname)
  from pg_subscription s
  where exists (select from pg_subscription_rel r join pg_class c on c.oid = r.srrelid where r.srsubid = s.oid
                  and c.relnamespace in ('qctl'::regnamespace, 'pgmq'::regnamespace))
$$;

create or replace function qctl._doctor_settings() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'broken', 'setting', s.name,
         format('it is set to %s, so the extension works in that database and not in %s', qctl._setting(s.name), current_database()),
         format('alter system set %s = %L; -- then restart the server', s.name, current_database())
  from (values ('pg_net.database_name', 'pg_net'), ('cron.database_name', 'pg_cron')) as s (name, extension)
  where qctl._setting(s.name) <> current_database()
    and exists (select from pg_extension e where e.extname = s.extension) and exists (select from qctl.queue q where q.transport = 'pg_net')
  union all
  select 'warning', 'pg_net', 'worker', 'no process of pg_net is running', 'select net.worker_restart();'
  where exists (select from qctl.queue q where q.transport = 'pg_net') and pg_has_role('pg_read_all_stats', 'usage')
    and exists (select from pg_extension e where e.extname = 'pg_net')
    and not exists (select from pg_stat_activity a where a.backend_type ~ '^pg_net' or a.application_name ~ '^pg_net')
$$;

create or replace function qctl._doctor_copies() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'warning', 'arming', current_database()::text,
         format('%s standbys are attached; after a promotion the new primary does not deliver until it is armed', count(*)),
         'qctl arm --survive-failover'
  from pg_stat_replication r
  where coalesce(r.state, 'streaming') = 'streaming' and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
    and not (select a.survive_failover from qctl.arming a)
  having count(*) > 0
$$;

create or replace function qctl._doctor_roles() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with caller as (
    select distinct r.oid, r.rolname, w.queues, w.transport
    from qctl.worker w join pg_roles r on r.rolname = w.role_name where w.last_seen_at > statement_timestamp() - interval '1 day'
  ), worker as (
    -- Functions called by a process run as the owner of qctl; the CALL of a job runs as the role of the job.
    select distinct r.oid, r.rolname, r.rolsuper, r.rolbypassrls, c.queues
    from caller c join pg_roles r on r.oid = case c.transport when 'http' then (select n.nspowner from pg_namespace n where n.nspname = 'qctl') else c.oid end
  ), served as (
    select w.*, q.queue_name, c.oid as relation, c.relowner, c.relrowsecurity, c.relforcerowsecurity
    from worker w join qctl.queue q on q.queue_name = any (w.queues)
    join pg_class c on c.oid in (to_regclass(format('pgmq.%I', 'q_' || q.queue_name)), to_regclass(format('pgmq.%I', 'a_' || q.queue_name)))
  )
  select distinct 'broken', 'role', s.rolname::text,
         format('row level security hides rows of %s from this worker role', s.relation::regclass),
         format('create policy qctl_worker on %s to %I using (true) with check (true);', s.relation::regclass, s.rolname)
  from served s
  where s.relrowsecurity and not s.rolsuper and not s.rolbypassrls and (not pg_has_role(s.oid, s.relowner, 'usage') or s.relforcerowsecurity)
    and not exists (select from pg_policy p where p.polrelid = s.relation and p.polpermissive and p.polcmd = '*'
                      and pg_get_expr(p.polqual, p.polrelid) = 'true'
                      and exists (select from unnest(p.polroles) as o (id) where o.id = 0 or pg_has_role(s.oid, o.id, 'usage')))
  union all
  select distinct 'broken', 'role', s.rolname::text, format('this worker role may not %s %s', lower(p.privilege), s.relation::regclass),
         format('grant select, insert, update, delete on %s to %I;', s.relation::regclass, s.rolname)
  from served s cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as p (privilege)
  where not has_table_privilege(s.oid, s.relation, p.privilege)
  union all
  select 'broken', 'role', m.rolname::text, 'this worker role may not execute ' || string_agg(m.name::text, ', ' order by m.name::text),
         case when m.transport = 'http' and not exists (select from qctl.grantee g where g.role_name = m.rolname and g.level <> 'work')
              then format('qctl grant %s --as work', qctl._word(m.rolname::text))
              else format('grant execute on routine %s to %I;', string_agg(m.name::text, ', ' order by m.name::text), m.rolname) end
  from (select distinct c.rolname, c.transport, p.oid::regprocedure as name
        from caller c cross join pg_proc p
        where p.pronamespace = 'qctl'::regnamespace
          and (c.transport = 'http' and p.oid in (select r from qctl._level_routines('work', false) r)
               or c.transport <> 'http' and p.proname in ('work', 'maintenance', 'dispatch', 'collect'))
          and not has_function_privilege(c.oid, p.oid, 'execute')) m
  group by m.rolname, m.transport
$$;

create or replace function qctl._doctor_sight() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'note', 'role', current_user::text, 'transactions that hold up vacuum are unknown because this role may not see other sessions',
         format('grant pg_read_all_stats to %I;', current_user)
  where not pg_has_role('pg_read_all_stats', 'usage')
  union all
  select 'note', 'role', current_user::text, 'the state of the jobs is unknown because this role may not use schema cron',
         format('grant usage on schema cron to %I;', current_user)
  where exists (select from pg_namespace n where n.nspname = 'cron') and not qctl._cron_here()
  union all
  select 'note', 'role', current_user::text,
         format('the number of messages in %s is unknown because row level security or a missing privilege hides rows from this role',
                t.relation),
         format('grant select on %s to %I; -- with row level security also: create policy', t.relation, current_user)
  from (select to_regclass(format('pgmq.%I', p.prefix || q.queue_name)) as relation from qctl.queue q, (values ('q_'), ('a_')) as p (prefix)) t
  where t.relation is not null and qctl._is_hidden(t.relation)
$$;
comment on function qctl._doctor_sight() is 'Checks that cannot run because the role that installed qctl lacks access.';
