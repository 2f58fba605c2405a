-- Retention: deletes what is older than its queue keeps it.

create or replace function qctl._due_retention() returns setof text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from qctl.upkept u where u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min') then
    return query
    select q.queue_name from qctl.queue q
    where (q.retention_s is not null and to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null) or qctl._is_partitioned(q.queue_name)
    order by random();
  end if;
end
$$;

create or replace function qctl._retain(p_queue text, p_place qctl.purge_place) returns qctl.purge_place
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_place qctl.purge_place;
  v_queue qctl.queue;
begin
  if qctl._is_partitioned(p_queue) then
    select * into v_queue from qctl.queue q where q.queue_name = p_queue;
    perform qctl._retain_partitions(v_queue);
    set local lock_timeout = '50ms';
    perform qctl._maintain_partitions('pgmq.a_' || p_queue, 'archived_at');
    return null;
  end if;
  select p.next_after, p.next_after_id into v_place.after, v_place.after_id
  from qctl.queue q join qctl.gate g using (queue_id),
       qctl._purge(p_queue, make_interval(secs => q.retention_s), coalesce(p_place.after, g.retained_to, '-infinity'),
                   coalesce(p_place.after_id, g.retained_to_id, 0), 5000) p
  where q.queue_name = p_queue and q.retention_s is not null;
  -- Where the time for deleting ends, the next run goes on.
  update qctl.gate g set retained_to = v_place.after, retained_to_id = v_place.after_id
  from qctl.queue q where q.queue_name = p_queue and g.queue_id = q.queue_id and (g.retained_to, g.retained_to_id) is distinct from (v_place.after, v_place.after_id);
  return v_place;
exception when others then
  perform qctl._audit_rarely('retention_failed', p_queue, sqlstate, sqlerrm);
  return null;
end
$$;
comment on function qctl._retain(text, qctl.purge_place) is
  'Deletes one batch of messages that are older than the retention of the queue; returns where to continue, or null at the end.';

create or replace function qctl._retention_done(p_place qctl.purge_place) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  update qctl.upkept u set retained_at = clock_timestamp()
  where p_place.after is null and (u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min')
$$;
comment on function qctl._retention_done(qctl.purge_place) is 'Pauses retention for 10 min unless a queue has more to delete.';
