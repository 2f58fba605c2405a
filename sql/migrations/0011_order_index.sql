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
