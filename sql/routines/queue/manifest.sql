-- Manifest: compares the database with the queues and attachments that a file declares.

create or replace function qctl._regclass(p_name text) returns regclass
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- to_regclass accepts an oid only from PostgreSQL 16 on.
  return case when p_name ~ '^[0-9]{1,10}$' then p_name::oid else to_regclass(p_name) end;
exception when others then
  return null;
end
$$;
comment on function qctl._regclass(text) is 'The table with this name or oid; null if no table has the name or the text is neither.';

create or replace function qctl.compare_queue(p_queue text, p_url text, p_headers jsonb default null, p_settings jsonb default '{}')
returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue q where q.queue_name = p_queue;
  if not found then
    return next 'missing';
    return;
  end if;
  if p_url is distinct from v_queue.url then
    return next 'url';
  end if;
  if p_headers is not null and qctl._lower_keys(p_headers) is distinct from v_queue.headers then
    return next 'headers';
  end if;
  return query
  select s.key from jsonb_each(p_settings) s
  where s.value is distinct from coalesce(to_jsonb(v_queue) -> s.key, 'null') and not (s.key = 'transport' and s.value = '"auto"');
end
$$;
comment on function qctl.compare_queue(text, text, jsonb, jsonb) is
  'The names of the settings in which the queue differs from these, or '
  '''missing'' if there is no such queue. Null headers are not compared.';

create or replace function qctl.compare_attachment(
  p_relation text, p_queue text, p_operations text[] default null, p_when text default null, p_columns text[] default null,
  p_payload text default null, p_unchanged boolean default null, p_as_me boolean default null, p_replicated boolean default null,
  p_on_error text default null, p_max_bytes integer default null, p_order_by text default null, p_body text default null)
returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment;
begin
  v_attachment := qctl._find_attachment(p_relation, (select q.queue_id from qctl.queue q where q.queue_name = p_queue));
  if v_attachment.attachment_id is null then
    return next 'missing';
    return;
  elsif not exists (select from pg_class c where c.oid = v_attachment.relation) then
    return next 'table';
  end if;
  return query
  select d.name from (values
    ('operations', p_operations is not null and array(select distinct upper(o) from unnest(p_operations) o order by 1)
                                                <> array(select distinct o from unnest(v_attachment.operations) o order by 1)),
    ('when', p_when is not null and nullif(p_when, '') is distinct from v_attachment.when_sql),
    ('columns', p_columns is not null and array(select distinct c from unnest(p_columns) c order by 1)
                                          <> array(select distinct c from unnest(v_attachment.columns) c order by 1)),
    ('payload', p_payload <> v_attachment.payload), ('unchanged', p_unchanged <> v_attachment.unchanged),
    ('as_me', p_as_me <> v_attachment.as_me), ('replicated', p_replicated <> v_attachment.replicated),
    ('on_error', p_on_error <> v_attachment.on_error), ('max_bytes', p_max_bytes <> v_attachment.max_bytes),
    ('order_by', p_order_by is not null and nullif(regexp_replace(p_order_by, '^record\.', ''), '') is distinct from v_attachment.order_by),
    ('body', p_body is not null and nullif(p_body, '') is distinct from v_attachment.body_sql)
  ) as d (name, differs) where d.differs;
end
$$;
comment on function qctl.compare_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text, text) is
  'The names of the options in which the attachment differs from these, or ''missing'' if the table is not attached to the queue. '
  'Null options are not compared.';

create or replace function qctl.set_attachment(
  p_relation text, p_queue text, p_operations text[] default null, p_when text default null, p_columns text[] default null,
  p_payload text default null, p_unchanged boolean default null, p_as_me boolean default null, p_replicated boolean default null,
  p_on_error text default null, p_max_bytes integer default null, p_order_by text default null, p_body text default null)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
begin
  if (qctl._find_attachment(p_relation, (select q.queue_id from qctl.queue q where q.queue_name = p_queue))).attachment_id is not null then
    return query select * from qctl.change_attachment(p_relation, p_queue, jsonb_strip_nulls(jsonb_build_object(
      'operations', to_jsonb(p_operations), 'when_sql', p_when, 'columns', to_jsonb(p_columns), 'payload', p_payload, 'unchanged', p_unchanged,
      'as_me', p_as_me, 'replicated', p_replicated, 'on_error', p_on_error, 'max_bytes', p_max_bytes, 'order_by', p_order_by, 'body_sql', p_body)));
  else
    return query select * from qctl.attach(
      p_relation, p_queue, coalesce(p_operations, '{INSERT,UPDATE,DELETE}'), nullif(p_when, ''), nullif(p_columns, '{}'), coalesce(p_payload, 'qctl'),
      coalesce(p_unchanged, false), coalesce(p_as_me, false), coalesce(p_replicated, false), coalesce(p_on_error, 'hold'), coalesce(p_max_bytes, 524288),
      nullif(p_order_by, ''), nullif(p_body, ''));
  end if;
end
$$;
comment on function qctl.set_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text, text) is
  'Attaches a table, or changes these options of its attachment, in one transaction. Null leaves an option unchanged; an empty p_when, '
  'p_columns, p_order_by or p_body removes it.';

create or replace function qctl._lock_captured(p_relations text[], p_exclusively text[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select qctl._lock_tables(
    array(select t from unnest(p_relations) n, qctl._captured_relations(qctl._regclass(n)) t),
    array(select t from unnest(p_exclusively) n, qctl._captured_relations(qctl._regclass(n)) t))
$$;
comment on function qctl._lock_captured(text[], text[]) is 'Takes the locks of several attaches and changes at once.';

create or replace function qctl.undeclared(p_queues text[], p_relations text[], p_relation_queues text[])
returns table (kind text, name text, queue_name text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'queue', q.queue_name, q.queue_name from qctl.queue q where not q.queue_name = any (p_queues)
  union all
  select 'attachment', coalesce(qctl._table_name(a.relation), a.table_name), q.queue_name
  from qctl.attachment a join qctl.queue q using (queue_id)
  where q.queue_name = any (p_queues)
    and not exists (select from unnest(p_relations, p_relation_queues) as d (relation, queue)
                    where d.queue = q.queue_name and (qctl._find_attachment(d.relation, q.queue_id)).attachment_id = a.attachment_id)
  order by 1 desc, 2
$$;
comment on function qctl.undeclared(text[], text[], text[]) is
  'Queues that the file does not declare, and attachments of its queues that it does not declare.';
