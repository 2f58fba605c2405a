-- Declared: does the database have the queues and attachments that a file declares?

create or replace function qctl._regclass(p_name text) returns regclass
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_regclass(p_name);
exception when others then
  return null;
end
$$;
comment on function qctl._regclass(text) is 'The table of that name; null where there is none, or the text is no name.';

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
  'Names of the settings in which a queue differs from these; missing where there is no such queue. Headers null: not compared.';

create or replace function qctl.compare_attachment(
  p_relation text, p_queue text, p_operations text[] default '{INSERT,UPDATE,DELETE}', p_when text default null,
  p_columns text[] default null, p_payload text default 'qctl', p_unchanged boolean default false, p_as_me boolean default false,
  p_replicated boolean default false, p_on_error text default 'fail', p_max_bytes integer default 524288)
returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment;
begin
  select a.* into v_attachment from qctl.attachment a join qctl.queue q using (queue_id)
  where q.queue_name = p_queue and a.relation = qctl._regclass(p_relation);
  if not found then
    return next 'missing';
    return;
  end if;
  return query
  select d.name from (values
    ('operations', array(select upper(o) from unnest(p_operations) o order by 1) <> array(select o from unnest(v_attachment.operations) o order by 1)),
    ('when', p_when is distinct from v_attachment.when_sql),
    ('columns', array(select c from unnest(p_columns) c order by 1) <> array(select c from unnest(v_attachment.columns) c order by 1)),
    ('payload', p_payload <> v_attachment.payload), ('unchanged', p_unchanged <> v_attachment.unchanged),
    ('as_me', p_as_me <> v_attachment.as_me), ('replicated', p_replicated <> v_attachment.replicated),
    ('on_error', p_on_error <> v_attachment.on_error), ('max_bytes', p_max_bytes <> v_attachment.max_bytes)
  ) as d (name, differs) where d.differs;
end
$$;
comment on function qctl.compare_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer) is
  'Names of the options in which an attachment differs from these; missing where the table is not attached to that queue.';

create or replace function qctl.undeclared(p_queues text[], p_relations text[], p_relation_queues text[])
returns table (kind text, name text, queue_name text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'queue', q.queue_name, q.queue_name from qctl.queue q where not q.queue_name = any (p_queues)
  union all
  select 'attachment', coalesce(format('%I.%I', n.nspname, c.relname), a.relation::oid::text), q.queue_name
  from qctl.attachment a join qctl.queue q using (queue_id)
  left join pg_class c on c.oid = a.relation left join pg_namespace n on n.oid = c.relnamespace
  where q.queue_name = any (p_queues)
    and not exists (select from unnest(p_relations, p_relation_queues) as d (relation, queue)
                    where qctl._regclass(d.relation) = a.relation and d.queue = q.queue_name)
  order by 1 desc, 2
$$;
comment on function qctl.undeclared(text[], text[], text[]) is 'Queues that are not among these, and attachments of those that are which are not.';
