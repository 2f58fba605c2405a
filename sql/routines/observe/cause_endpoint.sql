-- Cause endpoint_failing: the endpoint answers, but too many of its answers are failures.

create or replace function qctl._shown_by(p_queue_id integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select coalesce((
    select format('; see: qctl show %s/%s', q.queue_name, t.msg_id)
    from qctl.attempt t join qctl.queue q on q.queue_id = p_queue_id
    where t.queue_id = p_queue_id and t.settled_at > statement_timestamp() - interval '7 days' and t.outcome <> 'delivered' and t.outcome <> 'late'
    order by t.settled_at desc limit 1), '')
$$;
comment on function qctl._shown_by(integer) is 'The command that shows the last failed attempt of a queue, to be added to a sentence.';

create or replace function qctl._failed_answers(p_queue_id integer, p_since timestamptz) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_named constant integer := 3;
  c_most constant integer := 1000;
  v_answers text;
begin
  -- libcurl tells for how long it tried, each time another number.
  select case when sum(a.count) >= c_most then format('of the last %s: ', c_most) else '' end || string_agg(a.answer, ', ' order by a.place) into v_answers
  from (select g.place, sum(g.count) as count, format('%s × %s', sum(g.count), case when g.place > c_named then 'others' else min(g.what) end) as answer
        from (select least(row_number() over (order by count(*) desc, max(t.settled_at) desc), c_named + 1) as place, count(*), t.what
              from (select t.settled_at, coalesce('HTTP ' || t.status_code, left(regexp_replace(t.error, ' after [0-9]+ (ms|seconds)|after [0-9]+ milliseconds', ''), 100), 'no answer') as what from qctl.attempt t
                    where t.queue_id = p_queue_id and t.settled_at >= p_since and t.outcome <> 'delivered' and t.outcome <> 'late'
                    order by t.settled_at desc limit c_most) t
              group by t.what) g
        group by g.place) a;
  return v_answers;
end
$$;
comment on function qctl._failed_answers(integer, timestamptz) is
  'What failed attempts were answered, the most frequent first, for example "400 × HTTP 401, 2 × HTTP 422"; of the last 1,000 since p_since.';

create or replace function qctl._failing_since(p_queue_id integer, p_from timestamptz) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_recovery constant integer := 10;
  c_most constant integer := 1000;
  v_since timestamptz;
  v_read_to timestamptz;
  v_before timestamptz;
begin
  -- Counted from the newest back, each failure with the deliveries between it and the next one: as many as make a recovery end the search.
  with newest as (
    select t.settled_at, t.outcome = 'delivered' as good from qctl.attempt t
    where t.queue_id = p_queue_id and t.settled_at > p_from and t.outcome <> 'late' order by t.settled_at desc limit c_most
  ), numbered as (
    select n.settled_at, n.good, count(*) filter (where not n.good) over (order by n.settled_at desc rows unbounded preceding) as failure from newest n
  ), recovered as (
    select min(g.failure) as failure
    from (select n.failure from numbered n where n.good and n.failure > 0 group by n.failure having count(*) >= c_recovery) g
  )
  select min(n.settled_at) filter (where not n.good and n.failure <= coalesce(r.failure, n.failure)),
         case when r.failure is null and count(*) = c_most then min(n.settled_at) end
  into v_since, v_read_to from numbered n cross join recovered r group by r.failure;
  -- It began before those: after the last minute with as many deliveries.
  if v_read_to is not null then
    select t.settled_at into v_before from qctl.attempt t
    where t.queue_id = p_queue_id and t.outcome <> 'delivered' and t.outcome <> 'late'
      and t.settled_at >= greatest(p_from, (select max(m.minute) from qctl.throughput m
                                            where m.queue_id = p_queue_id and m.minute < date_trunc('minute', v_read_to) and m.delivered >= c_recovery))
    order by t.settled_at limit 1;
  end if;
  return least(v_since, v_before);
end
$$;
comment on function qctl._failing_since(integer, timestamptz) is
  'The first failure after which there were no 10 deliveries in a row, among the last 1,000 attempts since p_from; where all of these are after it, the first '
  'one after the last minute with 10 deliveries.';

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
  if not exists (select from qctl.retry r where r.queue_id = p_queue.queue_id and r.attempts > 0)
     and not exists (select from qctl.attempt t
                     where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '1 min'
                       and t.outcome <> 'delivered' and t.outcome <> 'late') then
    return null;
  end if;
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
  '10 were delivered and none failed in the last 20 s, or none failed in the last minute and no message waits for a retry.';

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
  v_answers text;
begin
  select count(*), count(*) filter (where t.outcome = 'delivered') as delivered, min(t.settled_at) as first_at into v_last
  from (select t.outcome, t.settled_at, t.error, t.status_code from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '24 h' and t.outcome <> 'late'
        order by t.settled_at desc limit 5) t;
  -- With few messages and long waits between attempts a rate would not show that every delivery fails.
  -- Answers that were settled together have the same time and no order, so one delivery among them is enough.
  if v_last.count >= 3 and v_last.delivered = 0
     and not exists (select from qctl.attempt t
                     where t.queue_id = p_queue.queue_id and t.settled_at >= v_last.first_at and t.outcome = 'delivered')
     and exists (select from qctl.retry r where r.queue_id = p_queue.queue_id and r.attempts > 0) then
    v_cause.reason := format('every recent attempt to deliver to %s failed', p_queue.url);
  elsif v_rate >= c_rate then
    v_cause.reason := format('%s %% of the attempts to deliver to %s in the last 10 min failed', round(v_rate * 100), p_queue.url);
  else
    return;
  end if;
  v_cause.cause := 'endpoint_failing';
  v_from := coalesce(case when v_last.delivered = 0 then qctl._last_delivered(p_queue.queue_name) end,
                     statement_timestamp() - case when v_last.delivered = 0 then interval '24 h' else interval '10 min' end);
  v_cause.since := qctl._failing_since(p_queue.queue_id, v_from);
  v_answers := qctl._failed_answers(p_queue.queue_id, v_cause.since);
  v_cause.reason := v_cause.reason || coalesce('; answers: ' || v_answers, '')
                    || case when exists (select from qctl.retry r where r.queue_id = p_queue.queue_id and r.attempts > 0)
                            then '; its messages are tried again by their schedule' else '' end
                    || case when v_answers ~ '^[0-9]+ × HTTP 40[13]\M'
                            then qctl._what_to_type(p_queue, 'HTTP 401') else '' end
                    || qctl._shown_by(p_queue.queue_id);
  return next v_cause;
end
$$;
