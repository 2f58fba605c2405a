-- Detach: the end of an attachment.

create or replace function qctl.detach(p_relation text, p_queue text default null, p_if_exists boolean default false)
returns table (relation text, queue_name text, trigger_name text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set client_min_messages = warning
as $$
#variable_conflict use_column
declare
  v_attachment qctl.attachment;
  v_queue qctl.queue;
  v_found boolean := false;
  v_function regprocedure;
begin
  if p_queue is not null and not p_if_exists then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select q.* from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    v_attachment := qctl._find_attachment(p_relation, v_queue.queue_id);
    continue when v_attachment.attachment_id is null;
    v_found := true;
    return query select coalesce(qctl._table_name(v_attachment.relation), v_attachment.table_name), v_queue.queue_name, qctl._capture_trigger(v_attachment, o)
                 from unnest(v_attachment.operations) o;
    -- Most of them before the table is locked.
    perform qctl._queue_held(v_attachment, v_queue);
    perform qctl._lock_tables('{}', array(select p.relation::oid from qctl._present_triggers(v_attachment) p));
    for v_function in select f from qctl._capture_functions(v_attachment.name) f loop
      execute format('drop function %s cascade', v_function);
    end loop;
    perform qctl._queue_held(v_attachment, v_queue);
    delete from qctl.attachment a where a.attachment_id = v_attachment.attachment_id;
    delete from qctl.capture_error e where e.attachment_id = v_attachment.attachment_id;
    perform qctl._audit('detach', v_queue.queue_name, jsonb_build_object('relation', v_attachment.table_name));
  end loop;
  if not v_found and not p_if_exists then
    raise exception 'table % is not attached%', coalesce(qctl._regclass(p_relation)::text, quote_literal(p_relation)),
        coalesce(' to queue ' || quote_literal(p_queue), '')
      using errcode = 'QC006',
            hint = coalesce('attached tables: ' || (select string_agg(distinct a.table_name, ', ') from qctl.attachment a), 'no table is attached');
  end if;
end
$$;
comment on function qctl.detach(text, text, boolean) is 'Stops capturing a table. Its messages stay in the queue, and its held events go there as they are.';
