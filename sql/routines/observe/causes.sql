-- Causes: what can stop or break a queue, each with the reason and the command that fixes it. Those of the endpoint and of a queue
-- that grows have files of their own.

create or replace function qctl._is_live(p_worker qctl.worker, p_within interval default null) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select (p_worker.stopped_at is null or p_within is not null)
     and p_worker.last_seen_at > clock_timestamp()
                                 - case p_worker.transport when 'http' then coalesce(p_within, interval '30 s')
                                                           else greatest(p_within, interval '90 s') end
$$;
comment on function qctl._is_live(qctl.worker, interval) is
  'True if the worker runs and has reported recently; with p_within also if it ended within that time, because it may be starting again. '
  'A process reports every 5 s, a job at least once a minute.';

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
         format('a running worker has version %s, but the schema has version %s', max(w.qctl_version), qctl._version()),
         -- A worker writes its version itself, so only its numbers come into a command.
         format('pip install qctl==%s && qctl upgrade', array_to_string(max(qctl._version_number(w.qctl_version)), '.'))
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
  v_served boolean;
  v_jobs integer := (select count(*) from qctl._wanted_jobs() w where w.command ~ '^call qctl\.work');
  v_job record;
  v_edge_stopped_at timestamptz;
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
             and (p_queue.transport = 'pg_net' or qctl._carrier(p_queue.url) = any (w.carriers)) and qctl._is_live(w, p_within))
     -- A CALL that runs goes on until its minute ends, but nothing starts the next one.
     and not (p_queue.transport = 'pg_net'
              and exists (select from qctl.jobs() j where j.command ~ '^call qctl\.work')
              and not exists (select from qctl.jobs() j where j.command ~ '^call qctl\.work' and j.active)) then
    return;
  end if;
  select greatest(coalesce(max(w.last_seen_at), p_queue.created_at), (select g.moved_at from qctl.gate g where g.queue_id = p_queue.queue_id)), count(*) > 0
  into v_cause.since, v_served from qctl.worker w
  where p_queue.queue_name = any (w.queues) and w.transport = p_queue.transport;
  if p_queue.transport = 'http' then
    -- A worker of all queues takes up a new one within 5 s; one that leaves out another queue is none.
    if not v_served and v_cause.since > clock_timestamp() - interval '15 s'
       and exists (select from qctl.worker w where w.transport = 'http' and qctl._carrier(p_queue.url) = any (w.carriers) and qctl._is_live(w)
                   and not exists (select from qctl.queue o where o.transport = 'http' and o.queue_id <> p_queue.queue_id
                                   and o.created_at < clock_timestamp() - interval '15 s' and o.queue_name <> all (w.queues))) then
      return;
    end if;
    select e.stopped_at into v_edge_stopped_at from qctl.edge_function e;
    if found and qctl._carrier(p_queue.url) = 'http' then
      if v_edge_stopped_at is null then
        -- It is woken when a message is ready, so a queue without a worker is healthy as long as it answers.
        select f.since, f.reason, f.fix into v_cause.since, v_cause.reason, v_cause.fix from qctl._edge_fault(2) f;
        if not found then
          return;
        end if;
      else
        v_cause.since := v_edge_stopped_at;
        v_cause.reason := 'the edge function was stopped, and no qctl worker process serves this queue';
        v_cause.fix := 'qctl edge wake';
      end if;
      return next v_cause;
      return;
    end if;
    v_cause.reason := case when qctl._carrier(p_queue.url) = 'http' then 'no qctl worker process serves this queue'
                           else format('no qctl worker process that can hand over to %1$s serves this queue; where it runs: pip install ''qctl[%1$s]''',
                                       qctl._carrier(p_queue.url)) end;
    v_cause.fix := 'qctl worker -q ' || p_queue.queue_name;
  else
    v_cause.fix := format('qctl scale --workers %s', greatest(1, (select s.workers from qctl.scheduler s)));
    select j.job_name, j.active, j.command, r.status, r.message into v_job
    from qctl.jobs() j left join lateral qctl._last_run(j.job_id) r on true
    where j.command ~ '^call qctl\.work' or j.job_name ~ '^qctl-worker'
    order by j.active, r.status limit 1;
    -- A job that was scheduled just now starts at the next full minute.
    if v_job.active and v_job.status is distinct from 'failed'
       and greatest(v_cause.since, (select max(a.at) from qctl.audit a where a.verb = 'scale' and a.at > clock_timestamp() - interval '90 s'))
           > clock_timestamp() - interval '90 s' then
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
  select 'capture_broken', null::timestamptz,
         v.object || ': ' || v.problem || case when v.problem ~ 'trigger for .* is (disabled|missing)' then '; what is written meanwhile is not captured' else '' end,
         v.fix
  from qctl._verify_attachments(p_queue.queue_id) v
$$;

create or replace function qctl._refused_address(p_queue qctl.queue) returns table (address text, at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_last record;
begin
  select t.error, t.settled_at into v_last from qctl.attempt t
  where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '7 days' and t.outcome <> 'late'
  order by t.settled_at desc limit 1;
  address := substring(v_last.error from '^refused: ([0-9a-f.:]+) is not a public address');
  if address is null or address::inet <<= any (p_queue.allow_networks) then
    return;
  end if;
  at := v_last.settled_at;
  return next;
exception when data_exception then
  -- A role that may settle can write any error, so what stands there need not be an address.
  return;
end
$$;
comment on function qctl._refused_address(qctl.queue) is
  'The address that the last attempt was not sent to because the queue does not allow it; none if it does now.';

create or replace function qctl._what_to_type(p_queue qctl.queue, p_reason text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_reason ~ '(^|: )HTTP 40[13]$' then coalesce('; it refuses the credentials, so if they have expired: qctl secret set ' || s.name,
      case when p_queue.headers::text ~* '"(authorization|[^"]*(key|token)[^"]*)":'
             or exists (select from qctl.signing_secret k where k.queue_id = p_queue.queue_id)
           then '; it refuses the credentials, so compare them: qctl describe ' || p_queue.queue_name
           else '; it wants credentials, and this queue sends none' end)
    when p_reason ~ '(^|: )access denied: ' then coalesce('; if its credentials have changed: qctl secret set ' || s.broker,
      '; compare its credentials: qctl describe ' || p_queue.queue_name)
    -- Such a reason names the command itself.
    when p_reason ~ '(^|: )refused: ' then ''
    else '; nothing to type' end
  from (select substring(p_queue.headers::text from '"secret:([^"]+)"') as name, substring(p_queue.broker::text from '"secret:([^"]+)"') as broker) s
$$;
comment on function qctl._what_to_type(qctl.queue, text) is 'What a person does about an open circuit breaker, to be added to its reason: mostly nothing.';

create or replace function qctl._cause_gate(p_queue qctl.queue) returns setof qctl.cause
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'secret_missing', null, format('the queue cannot deliver because %s is missing', m.missing), qctl._secret_hint(m.missing)
  from (select qctl._missing_of(p_queue) as missing
        where p_queue.headers::text || p_queue.broker::text ~ '"(secret|vault):') m where m.missing is not null
  union all
  select 'address_refused', r.at, 'requests are not sent because ' || r.address || ' is not a public address',
         format('qctl set -q %s --allow-private', p_queue.queue_name)
  from qctl._refused_address(p_queue) r
  union all
  select 'gone', g.paused_at, case when g.pause_reason ~ '^destination missing: ' then g.pause_reason || '; make it there, or set another with qctl set --url'
                                   else 'the endpoint answered 410 Gone: it no longer exists; if it has a new address, set that first with qctl set --url' end,
         'qctl resume -q ' || p_queue.queue_name
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.paused_at is not null and g.gone
  union all
  select 'paused', g.paused_at, 'paused by ' || g.paused_by || coalesce(': ' || g.pause_reason, ''), 'qctl resume -q ' || p_queue.queue_name
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.paused_at is not null and not g.gone
  union all
  -- It ends by itself: a probe costs one request, and qctl resume would cost each message an attempt.
  select 'circuit_open', g.opened_at,
         format('%s: %s; %s%s', p_queue.url, g.open_reason, case
           when g.probe_lease is not null and g.probe_ends > clock_timestamp() then 'a probe is in flight'
           when g.probe_at > clock_timestamp() then format('next probe in %s s', ceil(extract(epoch from g.probe_at - clock_timestamp())))
           else 'the next message is a probe' end, qctl._what_to_type(p_queue, g.open_reason)) || qctl._shown_by(p_queue.queue_id), null
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
