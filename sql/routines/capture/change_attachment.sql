-- Change: an attachment found by its table, and other options for it.

create or replace function qctl._find_attachment(p_relation text, p_queue_id integer) returns qctl.attachment
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- By the table, by its number where it is gone, or by the name of one that was dropped and made again.
  select a from qctl.attachment a
  where a.queue_id = p_queue_id
    and (a.relation = case when p_relation ~ '^[0-9]{1,10}$' then p_relation::oid else qctl._regclass(p_relation)::oid end
         or a.table_name = p_relation
         or not exists (select from pg_class c where c.oid = a.relation) and to_regclass(a.table_name) = qctl._regclass(p_relation))
  order by exists (select from pg_class c where c.oid = a.relation) and a.relation = qctl._regclass(p_relation) desc
  limit 1
$$;

create or replace function qctl.change_attachment(p_relation text, p_queue text, p_options jsonb default '{}')
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_attachment qctl.attachment := qctl._find_attachment(p_relation, v_queue.queue_id);
  v_unknown text := (select string_agg(k, ', ') from jsonb_object_keys(p_options) k
                     where k not in ('operations', 'when_sql', 'columns', 'payload', 'unchanged', 'replicated', 'as_me', 'on_error', 'max_bytes', 'order_by', 'body_sql'));
begin
  if v_unknown is not null then
    raise exception 'an attachment has no option %', v_unknown using errcode = 'QC002';
  elsif v_attachment.attachment_id is null then
    raise exception 'table % is not attached to queue ''%''', p_relation, p_queue
      using errcode = 'QC006', hint = format('qctl attach %s -q %s', qctl._word(p_relation), p_queue);
  end if;
  v_attachment.relation := qctl._root(coalesce(qctl._attached_relation(v_attachment.name)::regclass, qctl._relation(p_relation)));
  perform qctl._check_attachable(v_attachment.relation);
  v_attachment := qctl._follow_columns(v_attachment);
  v_attachment := jsonb_populate_record(v_attachment, p_options);
  v_attachment := qctl._check_options(v_attachment);
  v_attachment.as_me := qctl._captures_as_me(v_attachment.relation, v_attachment.as_me);
  update qctl.attachment a
  set relation = v_attachment.relation, operations = v_attachment.operations, when_sql = v_attachment.when_sql, columns = v_attachment.columns,
      payload = v_attachment.payload, unchanged = v_attachment.unchanged, level = v_attachment.level, replicated = v_attachment.replicated,
      as_me = v_attachment.as_me, on_error = v_attachment.on_error, max_bytes = v_attachment.max_bytes, order_by = v_attachment.order_by,
      table_name = v_attachment.table_name, uses = v_attachment.uses, body_sql = v_attachment.body_sql
  where a.attachment_id = v_attachment.attachment_id;
  perform qctl._capture(v_attachment, v_queue);
  delete from qctl.capture_error e where e.attachment_id = v_attachment.attachment_id;
  perform qctl._audit('attach', p_queue, to_jsonb(v_attachment) - '{attachment_id,queue_id,created_at,created_by,name,uses}'::text[]);
  return query select * from qctl._attached(v_attachment, p_queue);
end
$$;
comment on function qctl.change_attachment(text, text, jsonb) is
  'Changes these options of an attachment and keeps the others; follows a table or a column that was renamed, a table that was created '
  'again, or one that became a partition or child of another, which is attached in its place then. Keys are columns of qctl.attachment; an empty when_sql, columns, order_by or body_sql takes it away.';

create or replace function qctl.reattach(p_relation text, p_queue text)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$ select * from qctl.change_attachment(p_relation, p_queue) $$;
comment on function qctl.reattach(text, text) is 'Changes an attachment without new options: qctl.change_attachment(table, queue).';

create or replace function qctl._drop_unneeded_functions(p_attachment qctl.attachment) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
  v_function regprocedure;
begin
  for v_function in
    select f from qctl._capture_functions(p_attachment.name) f join pg_proc p on p.oid = f
    where p.prorettype = 'trigger'::regtype and upper(substring(p.proname from '[a-z]+$')) <> all (p_attachment.operations)
  loop
    -- With its triggers, which only owners of their tables could drop by themselves.
    execute format('drop function %s cascade', v_function);
  end loop;
end
$$;
