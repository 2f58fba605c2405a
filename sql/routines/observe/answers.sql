-- Answers: what the last attempts of a queue came to, and how long they took.

create or replace function qctl.answers(p_queue text)
returns table (delivered boolean, status_code integer, attempts bigint, p50_s double precision, p95_s double precision, max_s double precision,
               error text, bounds_s double precision[], counts bigint[], first_at timestamptz, last_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_bounds constant integer[] := qctl._duration_bounds_ms();
begin
  return query
  with last as materialized (
    select a.outcome = 'delivered' as delivered, a.status_code, a.stands_for, a.duration_ms, a.settled_at,
           case when a.outcome <> 'delivered' then coalesce(a.error, left(a.response, 200)) end as said, qctl._bucket(a.duration_ms) as bucket
    from qctl.attempt a
    where a.queue_id = v_queue.queue_id and a.settled_at > statement_timestamp() - interval '1 h' and a.outcome <> 'late'
    order by a.settled_at desc limit 5000
  ), counted as (
    select l.delivered, l.status_code, l.bucket, sum(l.stands_for) as attempts from last l where l.bucket >= 0 group by 1, 2, 3
  )
  select l.delivered, l.status_code, sum(l.stands_for)::bigint,
         percentile_cont(0.5) within group (order by l.duration_ms) / 1000, percentile_cont(0.95) within group (order by l.duration_ms) / 1000,
         max(l.duration_ms)::double precision / 1000, mode() within group (order by l.said),
         (select array_agg(b::double precision / 1000 order by b) from unnest(v_bounds) b),
         (select array_agg(coalesce(c.attempts, 0) order by n) from generate_series(0, cardinality(v_bounds)) n
          left join counted c on c.bucket = n and c.delivered = l.delivered and c.status_code is not distinct from l.status_code)::bigint[],
         min(l.settled_at), max(l.settled_at)
  from last l group by l.delivered, l.status_code order by 3 desc, 2;
end
$$;
comment on function qctl.answers(text) is
  'The last 5,000 attempts of the last hour by what they came to: delivered or not, and the status (null: no answer), the most frequent first. p50, p95 and max of how '
  'long the request took; error is the most frequent one, or beginning of an answer; counts has the attempts up to each of bounds_s, inclusive, and in one more element those that took longer. '
  'Late answers are not counted.';
