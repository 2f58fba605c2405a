-- Doctor: every present and coming problem, each with the command that fixes it.

create or replace function qctl._doctor_queue(p_queue qctl.queue) returns setof qctl.finding
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_size record;
  v_depth record;
  v_growth record;
begin
  if p_queue.transport = 'pg_net' and (qctl._shown_headers(p_queue.headers) <> p_queue.headers or p_queue.headers::text ~ '"(secret|vault):')
     and exists (select from pg_namespace n where n.nspname = 'net' and has_schema_privilege('public', n.oid, 'usage')) then
    return query select 'warning', 'queue', p_queue.queue_name, 'every role of this database can read its secret headers in schema net',
                        format('qctl set -q %s --transport http && qctl worker -q %s', p_queue.queue_name, p_queue.queue_name);
  end if;
  if exists (select from qctl.signing_secret s where s.queue_id = p_queue.queue_id)
     and not exists (select from qctl.signing_secret s where s.queue_id = p_queue.queue_id and (s.expires_at is null or s.expires_at > clock_timestamp())) then
    return query select 'broken', 'queue', p_queue.queue_name, 'its requests go out unsigned because its last signing secret has expired',
                        'qctl secret rotate -q ' || p_queue.queue_name;
  end if;
  if qctl._forbidden_host(p_queue) is not null then
    return query select 'broken', 'queue', p_queue.queue_name,
                        format('requests are not sent because %s is not a public address', qctl._forbidden_host(p_queue)),
                        format('qctl set -q %s --allow-private', p_queue.queue_name);
  elsif '0.0.0.0/0' = any (p_queue.allow_networks) and qctl._literal_address(qctl._host_of(p_queue.url)) is null
        and qctl._host_of(p_queue.url) ~ '\.' and p_queue.transport = 'http' then
    return query select 'note', 'queue', p_queue.queue_name, 'its requests may go to any address, including addresses inside your networks',
                        format('qctl set -q %s --no-allow-private; or --allow-network 10.0.0.0/8', p_queue.queue_name);
  end if;
  if p_queue.ordered and qctl._order_index_state(p_queue.queue_name) <> 'valid' and to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is not null then
    return query select 'broken', 'queue', p_queue.queue_name,
                        format('its index by order key is %s, so each claim reads the whole queue', qctl._order_index_state(p_queue.queue_name)),
                        format('qctl set -q %s --ordered', p_queue.queue_name);
  elsif not p_queue.ordered and qctl._order_index_state(p_queue.queue_name) <> 'missing' then
    return query select 'note', 'queue', p_queue.queue_name, 'it has an index by order key that it does not need',
                        format('qctl set -q %s --no-ordered', p_queue.queue_name);
  end if;
  select * into v_depth from qctl.depth(p_queue.queue_name);
  if v_depth.dead > 0 then
    return query select 'warning', 'queue', p_queue.queue_name, format('%s dead %s', v_depth.dead, case when v_depth.dead = 1 then 'letter' else 'letters' end), 'qctl dead -q ' || p_queue.queue_name;
  end if;
  if v_depth.depth > 1000 and not exists (select from qctl.delivery_stop(p_queue.queue_name)) then
    select * into v_growth from qctl._growth(p_queue, v_depth.depth, v_depth.exact, v_depth.estimate);
    return query select 'note', 'queue', p_queue.queue_name,
      format('%s%s unfinished messages; %s', case when not v_depth.exact then 'about ' end, v_depth.estimate, case
        when v_growth.drain_s is not null
          then format('at the current rate the queue is empty in %s', make_interval(secs => round(v_growth.drain_s)))
        when v_growth.per_s is null then 'the growth is unknown because no maintenance has run'
        else format('the queue grows by %s messages/s', round(v_growth.per_s::numeric, 1)) end),
      'qctl scale -q ' || p_queue.queue_name;
  end if;
  select * into v_size from qctl.archive_size(p_queue.queue_name);
  if v_size.retention_s is null and v_size.bytes > 100 * 1024 ^ 2 then
    return query select 'note', 'queue', p_queue.queue_name,
      format('delivered messages are kept forever: %s%s', pg_size_pretty(v_size.bytes),
             ', about ' || pg_size_pretty(v_size.bytes_per_day) || ' more per day'),
      format('qctl set -q %s --retention 7d', p_queue.queue_name);
  end if;
end
$$;

create or replace function qctl._statement_timeout_of(p_role text) returns double precision
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- As a new session of the role takes it: its own setting in this database, its own, the database's, the server's.
  select extract(epoch from case when v.value ~ '^\d+$' then v.value || ' ms' else v.value end::interval)
  from (select coalesce(
          (select split_part(c.setting, '=', 2)
           from pg_db_role_setting s cross join unnest(s.setconfig) as c (setting)
           where c.setting ~ '^statement_timeout=' and s.setrole in (0, (select r.oid from pg_roles r where r.rolname = p_role))
             and s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
           order by s.setrole = 0, s.setdatabase = 0 limit 1),
          (select p.reset_val from pg_settings p where p.name = 'statement_timeout')) as value) v
$$;
comment on function qctl._statement_timeout_of(text) is 'Seconds of statement_timeout in a new session of that role in this database; 0 for none.';

create or replace function qctl._doctor_jobs() returns setof qctl.finding
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_busy integer;
  v_size bigint;
begin
  if not qctl._cron_here() then
    return;
  end if;
  return query
  select 'broken', 'job', coalesce(j.jobname::text, j.jobid::text),
         format('its owner %s does not exist, so pg_cron stops for all jobs when it starts this one', j.username),
         format('select cron.unschedule(%s);', j.jobid)
  from cron.job j where j.active and not exists (select from pg_roles r where r.rolname = j.username::text);
  return query
  select 'broken', 'job', j.job_name, format('its owner %s cannot log in', j.owner), format('alter role %I login;', j.owner)
  from qctl.jobs() j join pg_roles r on r.rolname = j.owner where not r.rolcanlogin and qctl._setting('cron.use_background_workers') is distinct from 'on';
  return query
  select 'broken', 'job', j.job_name, 'it fails: ' || left(btrim(r.message), 300),
         case when w.command is distinct from j.command or j.schedule <> w.schedule
              then format('qctl scale --workers %s', greatest(1, (select s.workers from qctl.scheduler s)))
              else format('select * from cron.job_run_details where jobid = %s order by runid desc limit 5;', j.job_id) end
  from qctl.jobs() j cross join lateral qctl._last_run(j.job_id) r left join qctl._wanted_jobs() w on w.job_name = j.job_name
  where r.status = 'failed' and r.at > statement_timestamp() - interval '10 min' and j.active;
  return query
  select 'broken', 'queue', q.queue_name,
         format('its jobs succeed, but no message has been sent for 2 min although messages are ready%s',
                coalesce((select format(': %s, %s', a.verb, a.detail ->> 'error') from qctl.audit a
                          where a.verb ~ '_failed$' and a.at > statement_timestamp() - interval '1 h' and coalesce(a.queue_name, q.queue_name) = q.queue_name
                          order by a.at desc limit 1), '')),
         'select * from qctl.audit where verb ~ ''_failed$'' order by audit_id desc limit 10;'
  from qctl.queue q join qctl.gate g using (queue_id) cross join lateral qctl.lag(q.queue_name) l
  where q.transport = 'pg_net' and g.paused_at is null and l.lag_s > 120 and qctl.is_armed()
    and exists (select from qctl.jobs() j cross join lateral qctl._last_run(j.job_id) r
                where j.command ~ '^call qctl\.work' and r.status in ('running', 'succeeded') and r.at > statement_timestamp() - interval '3 min')
    and not exists (select from qctl.in_flight f where f.queue_id = q.queue_id and f.claimed_at > statement_timestamp() - interval '2 min')
    and not exists (select from qctl.attempt t where t.queue_id = q.queue_id and t.settled_at > statement_timestamp() - interval '2 min');
  select count(*) into v_busy from cron.job j where j.active and (j.schedule ~ 'second' or j.schedule ~ '^\s*\*(/1)?\s');
  if v_busy > qctl._cron_slots() then
    return query select 'warning', 'pg_cron', 'slots',
                        format('%s jobs run at least once a minute, but pg_cron runs only %s at once', v_busy, qctl._cron_slots()),
                        format('alter system set cron.max_running_jobs = %s; -- then restart the server', v_busy * 2);
  end if;
  return query
  select 'warning', 'job', j.job_name,
         format('statement_timeout of role %s is %s s, so it works only %s s of each minute', j.owner, round(t.limit_s), greatest(0, round(t.limit_s) - 2)),
         format('alter role %I in database %I set statement_timeout = ''90s'';', j.owner, current_database())
  from qctl.jobs() j cross join lateral qctl._statement_timeout_of(j.owner) as t (limit_s)
  where j.command ~ '^call qctl\.work' and t.limit_s between 0.001 and 61;
  v_size := pg_total_relation_size('cron.job_run_details');
  if v_size > 200 * 1024 ^ 2 then
    return query select 'warning', 'pg_cron', 'cron.job_run_details',
                        format('the history of all jobs takes %s and is indexed only by run id', pg_size_pretty(v_size)),
                        'delete from cron.job_run_details where end_time < now() - interval ''7 days'';';
  end if;
end
$$;

create or replace function qctl._doctor_failures() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'warning', 'audit', coalesce(a.queue_name, current_database()), format('%s, last at %s: %s', a.verb,
           qctl._shown_time(max(a.at)), (array_agg(a.detail ->> 'error' order by a.at desc))[1]),
         format('select * from qctl.audit where verb = %L order by audit_id desc limit 10;', a.verb)
  from qctl.audit a where a.at > statement_timestamp() - interval '15 min' and a.verb ~ '_failed$'
  group by a.verb, a.queue_name
  union all
  select 'warning', 'maintenance', s.step, format('its step %s has failed since %s: %s', s.step,
           qctl._shown_time(s.failed_since), s.error),
         'call qctl.maintenance();'
  from qctl.upkeep_step s where s.failed_since is not null
$$;

create or replace function qctl._doctor_vacuum() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'warning', 'transaction', 'pid ' || o.pid,
         format('open since %s (role %s, %s), so vacuum cannot remove rows that died since then',
                qctl._shown_time(o.since), o.role_name, o.state),
         format('select pg_terminate_backend(%s);', o.pid)
  from qctl._oldest_transaction() o
  where o.since < statement_timestamp() - coalesce(qctl._setting('qctl.old_transaction')::interval, '15 min')
  union all
  select 'warning', 'transaction', x.gid,
         format('prepared at %s and not finished, so vacuum cannot remove rows that died since then', x.prepared::timestamptz(0)),
         format('rollback prepared %L;', x.gid)
  from pg_prepared_xacts x where x.database = current_database() and x.prepared < statement_timestamp() - interval '15 min'
  union all
  select 'note', 'replication slot', s.slot_name::text, 'it is inactive but still retains dead rows and WAL',
         format('select * from pg_replication_slots where slot_name = %L; -- pg_drop_replication_slot() only if its reader is gone forever',
                s.slot_name)
  from pg_replication_slots s where not s.active and coalesce(s.xmin, s.catalog_xmin) is not null
  union all
  select 'warning', 'table', t.oid::regclass::text, format('%s dead rows', pg_stat_get_dead_tuples(t.oid)), format('vacuum %s;', t.oid::regclass)
  from (select to_regclass(format('pgmq.%I', 'q_' || q.queue_name))::oid as oid from qctl.queue q
        union all select unnest(array['qctl.in_flight'::regclass, 'qctl.retry'])::oid) t
  where pg_stat_get_dead_tuples(t.oid) > 200000
$$;

create or replace function qctl._doctor_load() returns setof qctl.finding
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'warning', 'load', 'jobs', format('delivery keeps one backend busy %s %% of the time', round(100 * sum(w.busy_s / w.busy_of_s))),
         format('qctl set -q %s --transport http && qctl worker -q %s', min(q.queue_name), min(q.queue_name))
  from qctl.worker w cross join lateral (select unnest(w.queues) limit 1) as q (queue_name)
  where w.transport = 'pg_net' and w.busy_of_s > 0 and qctl._is_live(w)
  having sum(w.busy_s / w.busy_of_s) > 0.3
  union all
  select 'warning', 'load', s.queue_name,
         format('delivery takes about %s %% of a core of this database at %s/s; handed over to a broker with --log failures it would take about %s %%; '
                'see: qctl capacity --rate %s/s', round(100 * s.share), round(s.per_s), round(100 * s.handed_over), round(s.per_s)), null
  from qctl.database_share() s where s.share > 0.3 and s.transport = 'http'
$$;
comment on function qctl._doctor_load() is 'Warns if delivery takes a large share of the database: the jobs as they recorded it themselves, workers by what a message costs.';

create or replace function qctl.doctor(p_queue text)
returns table (severity text, kind text, object text, problem text, fix text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  -- Problems of attachments and missing tables are left to qctl.verify(), which reports them too.
  return query
  select 'broken', v.kind, v.object, v.problem, v.fix from qctl.verify(p_queue) v
  where v.kind <> 'job' or v.object <> 'qctl-edge' or not exists (select from qctl.queue q where q.transport = 'http');
  return query
  select 'broken', 'database', current_database()::text, a.cause || ': ' || a.reason, a.fix from (select * from qctl._cause_unarmed() union all select * from qctl._cause_schema()) a;
  return query
  select 'broken', 'queue', array_to_string(f.queues, ', '), f.cause || ': ' || f.problem, f.fix
  from qctl.findings(p_queue) f where f.cause not in ('table_missing', 'capture_broken', 'unarmed', 'schema_outdated');
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    return query select * from qctl._doctor_queue(v_queue);
  end loop;
  if p_queue is not null then
    return;
  end if;
  return query
  select * from qctl._doctor_versions() union all select * from qctl._doctor_members() union all select * from qctl._doctor_replication() union all select * from qctl._doctor_settings() union all select * from qctl._doctor_copies()
  union all select * from qctl._doctor_roles() union all select * from qctl._doctor_sight();
  return query select * from qctl._doctor_jobs();
  return query
  select * from qctl._doctor_failures() union all select * from qctl._doctor_vacuum() union all select * from qctl._doctor_load() union all select * from qctl._doctor_edge();
end
$$;
comment on function qctl.doctor(text) is
  'Present problems (broken), coming problems (warning) and advice (note), each with the command that fixes it: health, the findings of '
  'qctl.verify(), versions, settings, roles, jobs, failures, vacuum, load. With p_queue only what concerns that queue.';

-- A function of its own, because views may depend on it.
create or replace function qctl.doctor() returns table (severity text, kind text, object text, problem text, fix text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl.doctor(null)
$$;
comment on function qctl.doctor() is 'As qctl.doctor(text) for all queues.';
