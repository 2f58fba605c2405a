-- Attachments: what is captured, for people.

create or replace function qctl.attachments(p_queue text default null)
returns table (relation text, queue_name text, operations text[], when_sql text, columns text[], payload text, unchanged boolean, level text,
               replicated boolean, on_error text, max_bytes integer, order_by text, triggers text, runs_as text, held bigint, created_at timestamptz, as_me boolean,
               body_sql text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(qctl._table_name(a.relation), a.table_name), q.queue_name, a.operations, a.when_sql, a.columns, a.payload, a.unchanged,
         a.level, a.replicated, a.on_error, a.max_bytes, a.order_by, t.triggers,
         (select pg_get_userbyid(f.proowner)::text from pg_proc f where f.oid = qctl._row_function(a.name)),
         (select count(*) from qctl.held_event h where h.attachment_id = a.attachment_id), a.created_at, a.as_me, a.body_sql
  from qctl.attachment a
  join qctl.queue q using (queue_id)
  cross join lateral (
    select case when count(distinct p.operation) < cardinality(a.operations) then 'missing' when bool_or(p.state = 'D') then 'disabled' else 'ok' end as triggers
    from qctl._present_triggers(a) p where p.relation = a.relation) t
  where p_queue is null or q.queue_name = p_queue
  order by 1, 2
$$;
comment on function qctl.attachments(text) is 'Attached tables, of one queue or of all, with the state of their triggers and how many events are held.';
