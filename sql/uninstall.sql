-- Takes qctl out of a database: jobs, triggers, schema qctl. Leaves pgmq, its queues and archives, and the extensions.
-- Runs after the jobs are stopped: see qctl.stop_jobs(). Its last query says what remains.
begin;
set local search_path = pg_catalog, pg_temp;
select pg_advisory_xact_lock(1902343277, 1);
set local client_min_messages = warning;
set local lock_timeout = '2s';
select count(*) from qctl.stop_jobs();
-- What takes long comes before the tables that the application writes are locked. No gate is held, because a worker that waits for one
-- would be waited for.
select sum(qctl._archive_dead(q)) from qctl.queue q;
select count(qctl._unhide_followers(q.queue_name)) from qctl.queue q where q.ordered;
select sum(qctl._queue_held(a, q)) from qctl.attachment a join qctl.queue q using (queue_id);
create temporary table qctl_remains on commit drop as
select q.queue_name, u.unfinished, u.archived from qctl.queue q, qctl.undelivered(q.queue_name) u;
select qctl._lock_tables('{}', array(
  select p.relation::oid from qctl.attachment a, qctl._present_triggers(a) p
  union select t.id from qctl.queue q, cast(to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) as oid) t (id) where t.id is not null
  union select c.oid from pg_class c where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p')));
select count(qctl._unhide_followers(q.queue_name)) from qctl.queue q where q.ordered;
select count(*) from (select distinct relation from qctl.attachment) a, qctl.detach(a.relation::oid::text);
do $$
declare
  v_queue text;
begin
  for v_queue in select q.queue_name from qctl.queue q loop
    execute format('drop index if exists pgmq.%I', 'qctl_order_' || v_queue);
  end loop;
end
$$;
do $$
declare
  v_partman text := qctl._partman();
begin
  if v_partman is not null and qctl._is_log_partitioned() then
    execute format('delete from %I.part_config where parent_table = ''qctl.attempt''', v_partman);
    execute format('drop table if exists %I.template_qctl_attempt', v_partman);
  end if;
exception when insufficient_privilege then
  raise warning 'pg_partman still has its settings for qctl.attempt: %', sqlerrm;
end
$$;
drop schema qctl cascade;
select queue_name, unfinished, archived from qctl_remains order by queue_name;
commit;
