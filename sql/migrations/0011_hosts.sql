-- Order indexes by queue name; functions with one more parameter; comments in ASCII.
-- The index of an ordered queue is named after the queue, so that the statement that makes it can be written without looking here.
do $$
declare
  v_queue record;
begin
  for v_queue in select q.queue_id, q.queue_name from qctl.queue q where q.ordered loop
    execute format('alter index if exists pgmq.%I rename to %I', 'qctl_order_' || v_queue.queue_id, 'qctl_order_' || v_queue.queue_name);
  end loop;
end
$$;
drop function if exists qctl._order_index(qctl.queue, boolean), qctl._lock_tables(text[], text[]);
drop function if exists qctl._drop_keeping_archive(text);

-- Each is made again with one more parameter.
drop function if exists qctl.create_queue(text, text, jsonb, jsonb, text, boolean, boolean), qctl.drop_queue(text, boolean, boolean), qctl.detach(text, text);

-- In ASCII, because not every encoding of a database has the dots in one character that they had.
comment on column qctl.queue.retry_schedule_s is 'Wait in seconds after failed attempt 1, 2, ...; one attempt more than waits, then dead.';
comment on column qctl.queue.allow_networks is 'Networks that requests may go to although they are not public: loopback, private, link-local ...';
drop function if exists qctl._plan_jobs();
