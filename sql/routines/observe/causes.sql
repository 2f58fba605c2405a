-- Causes: what can be wrong with a queue, each with the reason and the command that fixes it.

create or replace function qctl._is_live(p_worker qctl.worker, p_within interval default null) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p_worker.stopped_at is null
     and p_worker.last_seen_at > clock_timestamp()
                                 - coalesce(p_within, case p_worker.transport when 'http' then interval '30 s' else interval '90 s' end)
$$;
comment on function qctl._is_live(qctl.worker, interval) is
  'True if the worker has reported recently. A process reports every 5 s, a job at least once a minute.';

create or replace function qctl._cause_unarmed() returns setof qctl.cause
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'unarmed',
         case when a.database_oid = 0 then (select u.at from qctl.audit u where u.verb in ('arm', 'disarm') order by u.at desc limit 1) end,
         case when a.database_oid = 0 then 'this database was disarmed, so it does not deliver'
              else 'this database is a copy of the one that was armed: leave it silent, unless it is the one that is to deliver' end,
         'qctl arm'
  from qctl.arming a where not qctl.is_armed()
$$;

create or replace function qctl._cause_schema() returns setof qctl.cause
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'schema_outdated', min(w.started_at),
         format('a running worker has version %s, but the schema has version %s', max(w.qctl_version), qctl._version()), 'qctl upgrade'
  from qctl.worker w
  where qctl._is_live(w) and qctl._version_number(w.qctl_version) > qctl._version_number(qctl._version())
  having count(*) > 0
$$;

create or replace function qctl._last_run(p_job_id bigint) returns table (status text, message text, at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select d.status, d.return_message, coalesce(d.end_time, d.start_time) from cron.job_run_details d
  where d.runid > (select max(m.runid) from cron.job_run_details m) - 5000 and d.jobid = p_job_id
  order by d.runid desc limit 1;
exception when insufficient_privilege or undefined_table or undefined_column then
  return;
end
$$;
comment on function qctl._last_run(bigint) is
  'The last run of a job among the last 5,000 runs of all jobs, because pg_cron''s history is indexed only by run id.';

create or replace function qctl._cause_worker(p_queue qctl.queue, p_within interval default null) returns setof qctl.cause
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cause qctl.cause;
  v_jobs integer := (select count(*) from qctl._wanted_jobs() w where w.command <> 'call qctl.maintenance()');
  v_job record;
begin
  v_cause.cause := 'no_worker';
  if p_queue.transport = 'pg_net' then
    if qctl._net_relation('http_request_queue') is null then
      v_cause.reason := 'pg_net is no longer installed in this database';
      v_cause.fix := 'create extension pg_net;';
      return next v_cause;
      return;
    end if;
    select s.net_held_since, s.net_held_reason into v_cause.since, v_cause.reason
    from qctl.scheduler s where s.net_held_since is not null;
    if found then
      v_cause.fix := case when v_cause.reason ~ 'requests of other programs'
                          then 'select url, count(*) from net.http_request_queue group by url order by 2 desc limit 10;'
                          else 'select net.worker_restart();' end;
      return next v_cause;
      return;
    end if;
  end if;
  if exists (select from qctl.worker w where p_queue.queue_name = any (w.queues) and w.transport = p_queue.transport
             and qctl._is_live(w, p_within)) then
    return;
  end if;
  select greatest(coalesce(max(w.last_seen_at), p_queue.created_at), (select g.moved_at from qctl.gate g where g.queue_id = p_queue.queue_id))
  into v_cause.since from qctl.worker w
  where p_queue.queue_name = any (w.queues) and w.transport = p_queue.transport;
  if p_queue.transport = 'http' then
    v_cause.reason := 'no qctl worker process serves this queue';
    v_cause.fix := 'qctl worker -q ' || p_queue.queue_name;
  else
    v_cause.fix := format('qctl scale --workers %s', greatest(1, (select s.workers from qctl.scheduler s)));
    select j.job_name, j.active, j.command, r.status, r.message into v_job
    from qctl.jobs() j left join lateral qctl._last_run(j.job_id) r on true
    where j.command ~ '^call qctl\.work' or j.job_name ~ '^qctl-worker'
    order by j.active, r.status limit 1;
    if v_job.active and v_job.status is distinct from 'failed' and v_cause.since > clock_timestamp() - interval '90 s' then
      return;
    end if;
    v_cause.reason := case
      when (select s.workers from qctl.scheduler s) < 1 then 'workers are set to 0'
      when not qctl._cron_here() then 'pg_cron is not available to this role in this database'
      when v_job.job_name is null then 'no pg_cron job delivers this queue'
      when not v_job.active then format('job %s is switched off', v_job.job_name)
      when v_job.status = 'failed' then format('job %s fails: %s', v_job.job_name, left(btrim(v_job.message), 200))
      when v_jobs >= qctl._cron_slots() then format('%s jobs are scheduled, but pg_cron runs only %s at once', v_jobs, qctl._cron_slots())
      else format('job %s is scheduled but has not reported recently', v_job.job_name) end;
    if v_cause.reason ~ 'pg_cron runs only' then
      v_cause.fix := format('alter system set cron.max_running_jobs = %s; -- then restart the server', 2 * v_jobs + 2);
    end if;
  end if;
  return next v_cause;
end
$$;
comment on function qctl._cause_worker(qctl.queue, interval) is
  'The cause that no worker delivers the queue. It follows from qctl.worker, so it is right for roles that cannot see jobs; the jobs only '
  'give the reason.';

create or replace function qctl._is_waited_for(p_queue_name text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found boolean;
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    return true;
  end if;
  execute format('select exists (select from pgmq.%I)', 'q_' || p_queue_name) into v_found;
  return v_found;
end
$$;
comment on function qctl._is_waited_for(text) is 'True if the queue has a message, so that it matters that the endpoint is down.';

create or replace function qctl._cause_tables(p_queue qctl.queue) returns setof qctl.cause
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'table_missing', null::timestamptz, v.problem, v.fix from qctl._verify_tables(p_queue.queue_name) v
$$;

create or replace function qctl._cause_capture(p_queue qctl.queue) returns setof qctl.cause
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'capture_broken', null::timestamptz, v.object || ': ' || v.problem, v.fix from qctl._verify_attachments(p_queue.queue_id) v
$$;

create or replace function qctl._cause_gate(p_queue qctl.queue) returns setof qctl.cause
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'secret_missing', null, format('the queue cannot deliver because %s is missing', qctl._missing_secrets(p_queue.headers)),
         qctl._secret_hint(qctl._missing_secrets(p_queue.headers))
  where p_queue.headers::text ~ '"(secret|vault):' and qctl._missing_secrets(p_queue.headers) is not null
  union all
  select 'gone', g.paused_at, 'the endpoint answered 410 Gone: it no longer exists',
         format('qctl set -q %s --url NEW_URL && qctl resume -q %s', p_queue.queue_name, p_queue.queue_name)
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.paused_at is not null and g.gone
  union all
  select 'paused', g.paused_at, 'paused by ' || g.paused_by || coalesce(': ' || g.pause_reason, ''), 'qctl resume -q ' || p_queue.queue_name
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.paused_at is not null and not g.gone
  union all
  -- It ends by itself: a probe costs one request, and qctl resume would cost each message an attempt.
  select 'circuit_open', g.opened_at,
         format('%s; %s; nothing to type', g.open_reason, case
           when g.probe_lease is not null and g.probe_ends > clock_timestamp() then 'a probe is in flight'
           when g.probe_at > clock_timestamp() then format('next probe in %s s', ceil(extract(epoch from g.probe_at - clock_timestamp())))
           else 'the next message is a probe' end) || qctl._shown_by(p_queue.queue_id), null
  from qctl.gate g where g.queue_id = p_queue.queue_id and case when g.opened_at is not null then qctl._is_waited_for(p_queue.queue_name) end
  union all
  select 'circuit_open', qctl._last_delivered(p_queue.queue_name),
         format('every request to %s timed out; next one in %s s; nothing to type', p_queue.url,
                greatest(0, ceil(extract(epoch from g.net_hold_until - clock_timestamp())))) || qctl._shown_by(p_queue.queue_id), null
  from qctl.gate g
  where g.queue_id = p_queue.queue_id and p_queue.transport = 'pg_net'
    and case when g.net_hold_until is not null and g.opened_at is null then qctl._is_waited_for(p_queue.queue_name) end
    and to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)) is not null
$$;

create or replace function qctl._shown_by(p_queue_id integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select coalesce((
    select format('; its answer: qctl show %s/%s', q.queue_name, t.msg_id)
    from qctl.attempt t join qctl.queue q on q.queue_id = p_queue_id
    where t.queue_id = p_queue_id and t.settled_at > statement_timestamp() - interval '7 days' and t.outcome <> 'delivered' and t.outcome <> 'late'
    order by t.settled_at desc limit 1), '')
$$;
comment on function qctl._shown_by(integer) is 'The command that shows the last failed attempt of a queue, to be added to a sentence.';

create or replace function qctl._failure_rate(p_queue qctl.queue) returns double precision
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_over constant interval := '10 min';
  c_least constant integer := 10;
  v_counts record;
  v_last record;
begin
  select count(*), count(*) filter (where t.outcome <> 'delivered') as failed into v_last
  from (select t.outcome from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - c_over and t.outcome <> 'late'
        order by t.settled_at desc limit c_least) t;
  if v_last.count < c_least then
    return null;
  end if;
  -- An endpoint that has recovered is not failing, whatever its rate was before.
  if v_last.failed = 0
     and not exists (select from qctl.attempt t
                     where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '20 s'
                       and t.outcome <> 'delivered' and t.outcome <> 'late') then
    return null;
  end if;
  select * into v_counts from qctl._counts(p_queue.queue_id, statement_timestamp() - c_over);
  return v_counts.failed::double precision / nullif(v_counts.delivered + v_counts.failed, 0);
end
$$;
comment on function qctl._failure_rate(qctl.queue) is
  'The share of failed attempts in the last 10 min. Null if there are fewer than 10 attempts, or if the endpoint has recovered: the last '
  '10 were delivered and none failed in the last 20 s.';

create or replace function qctl._cause_endpoint(p_queue qctl.queue) returns setof qctl.cause
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_rate constant double precision := 0.2;
  v_cause qctl.cause;
  v_rate double precision := qctl._failure_rate(p_queue);
  v_last record;
  v_from timestamptz;
begin
  select count(*), count(*) filter (where t.outcome = 'delivered') as delivered, min(t.settled_at) as first_at,
         (array_agg(coalesce(t.error, 'HTTP ' || t.status_code, 'no answer') order by t.settled_at desc)
            filter (where t.outcome <> 'delivered'))[1] as error
  into v_last
  from (select t.outcome, t.settled_at, t.error, t.status_code from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '24 h' and t.outcome <> 'late'
        order by t.settled_at desc limit 5) t;
  -- With few messages and long waits between attempts a rate would not show that every delivery fails.
  -- Answers that were settled together have the same time and no order, so one delivery among them is enough.
  if v_last.count >= 3 and v_last.delivered = 0
     and not exists (select from qctl.attempt t
                     where t.queue_id = p_queue.queue_id and t.settled_at >= v_last.first_at and t.outcome = 'delivered')
     and exists (select from qctl.retry r where r.queue_id = p_queue.queue_id and r.attempts > 0) then
    v_cause.reason := format('the last %s attempts to deliver to %s failed: %s', v_last.count, p_queue.url, v_last.error);
  elsif v_rate >= c_rate then
    v_cause.reason := format('%s %% of the attempts to deliver to %s in the last 10 min failed%s', round(v_rate * 100), p_queue.url,
                             coalesce(': ' || v_last.error, ''));
  else
    return;
  end if;
  v_cause.cause := 'endpoint_failing';
  -- The first failure after the last delivery, or else within the examined time.
  v_from := coalesce(case when v_last.delivered = 0 then qctl._last_delivered(p_queue.queue_name) end,
                     statement_timestamp() - case when v_last.delivered = 0 then interval '24 h' else interval '10 min' end);
  select min(f.settled_at) into v_cause.since
  from (select t.settled_at from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.outcome <> 'delivered' and t.outcome <> 'late'
          and t.settled_at > v_from
        order by t.settled_at limit 1) f;
  v_cause.reason := v_cause.reason || '; its messages are tried again by their schedule' || qctl._shown_by(p_queue.queue_id);
  return next v_cause;
end
$$;

create or replace function qctl._oldest_transaction() returns table (pid integer, role_name text, state text, since timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select a.pid, a.usename::text, a.state, a.xact_start from pg_stat_activity a
  where a.xact_start is not null and a.backend_xmin is not null and a.backend_type <> 'autovacuum worker'
    and (a.datname = current_database() or a.backend_type = 'walsender')
  order by age(a.backend_xmin) desc, a.xact_start limit 1
$$;
comment on function qctl._oldest_transaction() is
  'The session that prevents vacuum from removing dead rows. Columns that this role may not see are null.';

create or replace function qctl._cause_growing(p_queue qctl.queue) returns setof qctl.cause
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_lag_s constant double precision := 60;
  c_drain_s constant double precision := 3600;
  c_dead_rows constant bigint := 50000;
  v_cause qctl.cause;
  v_lag_s double precision;
  v_growth record;
  v_capacity record;
  v_dead_rows bigint;
  v_old record;
begin
  v_cause.cause := 'growing';
  v_lag_s := (select l.lag_s from qctl.lag(p_queue.queue_name) l);
  if v_lag_s > c_lag_s then
    select * into v_growth from qctl.growth(p_queue.queue_name);
    if coalesce(v_growth.per_s, 0) >= 0 or v_growth.drain_s > c_drain_s then
      select * into v_capacity from qctl.capacity(p_queue.queue_name);
      v_cause.since := clock_timestamp() - make_interval(secs => v_lag_s);
      v_cause.reason := format('ready messages wait %s s, the queue %s, and its throughput is limited to %s/s by %s', round(v_lag_s),
        case when v_growth.drain_s is null then 'does not drain'
             else format('will not be empty for %s', make_interval(secs => round(v_growth.drain_s))) end,
        round(v_capacity.ceiling_per_s::numeric, 1), v_capacity.limited_by);
      v_cause.fix := case
        when v_capacity.limited_by like 'its rate%' then format('qctl set -q %s --rate none', p_queue.queue_name)
        when v_capacity.limited_by like 'max_in_flight%' then format('qctl scale -q %s --max-in-flight %s', p_queue.queue_name, least(p_queue.max_in_flight * 4, 100000))
        when p_queue.transport = 'http' then format('qctl scale -q %s --concurrency %s', p_queue.queue_name, least(p_queue.concurrency * 4, 10000))
        when v_capacity.limited_by like 'pg_net.batch_size%' then format('qctl set -q %s --transport http && qctl worker -q %s', p_queue.queue_name, p_queue.queue_name)
        else format('qctl scale -q %s --batch %s', p_queue.queue_name, least(p_queue.batch * 2, 10000)) end;
      return next v_cause;
      return;
    end if;
  end if;
  v_dead_rows := (select sum(pg_stat_get_dead_tuples(t.oid))
                  from (values (to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name))::oid)) as t (oid));
  if v_dead_rows > c_dead_rows then
    select * into v_old from qctl._oldest_transaction();
    if v_old.since < clock_timestamp() - coalesce(qctl._setting('qctl.old_transaction')::interval, '15 min') then
      v_cause.since := v_old.since;
      v_cause.reason := format('its table has %s dead rows that vacuum cannot remove because pid %s (role %s, %s) keeps a transaction open',
                               v_dead_rows, v_old.pid, v_old.role_name, v_old.state);
      v_cause.fix := format('select pg_terminate_backend(%s);', v_old.pid);
      return next v_cause;
    end if;
  end if;
end
$$;
comment on function qctl._cause_growing(qctl.queue) is
  'The cause that messages become ready faster than they are sent, or that dead rows accumulate behind a transaction older than 15 min '
  '(setting qctl.old_transaction). A deep queue that drains within an hour is healthy.';
