-- Attach: which tables are captured, and how; what is refused.

create or replace function qctl._relation(p_name text) returns regclass
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation regclass;
begin
  begin
    v_relation := to_regclass(p_name);
  exception when others then
    v_relation := null;
  end;
  if v_relation is null then
    raise exception 'table % not found', quote_literal(coalesce(p_name, ''))
      using errcode = 'QC006', hint = 'include the schema, for example public.users; put names with capitals in double quotes';
  end if;
  return v_relation;
end
$$;

create or replace function qctl._table_name(p_relation oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$ select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_relation $$;

create or replace function qctl._check_attachable(p_relation regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_class pg_class;
begin
  select * into v_class from pg_class where oid = p_relation;
  if v_class.relkind not in ('r', 'p') then
    raise exception '% is not a table', p_relation
      using errcode = 'QC007', hint = 'views and foreign tables cannot be attached';
  elsif v_class.relispartition or exists (select from pg_inherits where inhrelid = p_relation) then
    raise exception '% is a partition or child of another table', p_relation
      using errcode = 'QC007', hint = format('attach %s', (select i.inhparent::regclass from pg_inherits i where i.inhrelid = p_relation limit 1));
  elsif v_class.relnamespace in ('pgmq'::regnamespace, 'qctl'::regnamespace, 'pg_catalog'::regnamespace) then
    raise exception '% belongs to the pipeline and cannot be attached', p_relation using errcode = 'QC007', hint = 'attach a table of your own';
  end if;
end
$$;

create or replace function qctl._check_columns(p_relation regclass, p_columns text[], p_what text, p_hint text default null) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column text;
begin
  foreach v_column in array coalesce(p_columns, '{}') loop
    if not exists (select from pg_attribute a where a.attrelid = p_relation and a.attname = v_column and a.attnum > 0 and not a.attisdropped) then
      raise exception 'table % has no column %', p_relation, quote_literal(v_column) || p_what
        using errcode = 'QC006', hint = coalesce(p_hint, format('its columns: %s', (
          select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped)));
    elsif v_column = any (qctl._virtual_columns(p_relation)) then
      raise exception 'column % of % is a virtual generated column, which no trigger sees', quote_literal(v_column), p_relation
        using errcode = 'QC007', hint = 'name the columns that it is computed from, or make it a stored one';
    end if;
  end loop;
end
$$;

create or replace function qctl._check_options(p_attachment qctl.attachment) returns qctl.attachment
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_attachment.operations is null or cardinality(p_attachment.operations) = 0
     or not p_attachment.operations <@ array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] then
    raise exception 'operations must be one or more of INSERT, UPDATE, DELETE, TRUNCATE' using errcode = 'QC002';
  elsif p_attachment.on_error is null or p_attachment.on_error not in ('hold', 'fail', 'skip') then
    raise exception '% is not a valid choice for errors', quote_nullable(p_attachment.on_error) using errcode = 'QC002', hint = 'use hold, fail or skip';
  elsif p_attachment.max_bytes is null or p_attachment.max_bytes not between 1024 and 1048576 then
    raise exception 'the limit for a row must be between 1 KiB and 1 MiB' using errcode = 'QC002';
  end if;
  p_attachment.operations := array(select distinct o from unnest(p_attachment.operations) as o order by o desc);
  p_attachment.columns := nullif(p_attachment.columns, '{}');
  perform qctl._check_shape(p_attachment.payload);
  p_attachment.when_sql := nullif(p_attachment.when_sql, '');
  p_attachment.body_sql := nullif(p_attachment.body_sql, '');
  -- The column may be given as in the payload, record.user_id, or without the prefix.
  p_attachment.order_by := nullif(regexp_replace(p_attachment.order_by, '^record\.', ''), '');
  perform qctl._check_columns(p_attachment.relation, p_attachment.columns, '');
  perform qctl._check_columns(p_attachment.relation, array[p_attachment.order_by], ' to order by', 'for example --order-by record.user_id')
  where p_attachment.order_by is not null;
  p_attachment.uses := qctl._uses(p_attachment);
  perform qctl._check_columns(p_attachment.relation, array(select jsonb_object_keys(p_attachment.uses -> 'columns')), '');
  p_attachment.level := qctl._level(p_attachment);
  p_attachment.table_name := qctl._table_name(p_attachment.relation);
  return p_attachment;
end
$$;
comment on function qctl._check_options(qctl.attachment) is 'The attachment with its options in their plain form and what follows from them; refuses what is not valid for its table.';

create or replace function qctl._captures_as_me(p_relation regclass, p_accepted boolean) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner oid := (select c.relowner from pg_class c where c.oid = p_relation);
  v_foreign text := qctl._foreign_children(p_relation);
begin
  if v_foreign is null
     and pg_has_role(v_owner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end) then
    return false;
  elsif p_accepted then
    return true;
  elsif v_foreign is not null then
    raise exception 'tables that inherit from % belong to other roles: %', p_relation, v_foreign
      using errcode = 'QC007',
            detail = format('The capture runs as role %s, which must not run the code that types of those tables may contain.', pg_get_userbyid(v_owner)),
            hint = 'give these tables the same owner; or --as-me, to capture them with your own rights';
  end if;
  raise exception 'the capture of % must run as its owner ''%'', but role ''%'' may not act for that role', p_relation, pg_get_userbyid(v_owner), current_user
    using errcode = 'QC007',
          detail = 'Types of that table may contain code of its owner, which would run with your rights.',
          hint = format('use --as-me to accept that; or run attach as a member of role %s', pg_get_userbyid(v_owner));
end
$$;
comment on function qctl._captures_as_me(regclass, boolean) is 'Must the capture run as the current role, because it may not act for the owner?';

create or replace function qctl._attachment_name(p_queue text, p_relation regclass) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table text := qctl._table_name(p_relation);
  v_name text := left(regexp_replace(lower(p_queue || '_' || (select c.relname from pg_class c where c.oid = p_relation)), '[^a-z0-9_]+', '_', 'g'), 30);
  v_try integer := 0;
  v_full text;
begin
  loop
    v_full := v_name || '_' || left(md5(format('%s %s%s', p_queue, replace(v_table, '"', ''), repeat('+', v_try))), 8);
    -- Taken by a table that had this name before it was renamed.
    exit when not exists (select from qctl.attachment a where a.name = v_full);
    v_try := v_try + 1;
  end loop;
  return v_full;
end
$$;

create or replace function qctl._warn_about(p_attachment qctl.attachment) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns text[] := qctl._virtual_columns(p_attachment.relation);
begin
  if v_columns is not null then
    raise warning 'virtual generated columns are left out of the events: %', array_to_string(v_columns, ', ');
  end if;
  if p_attachment.order_by is not null and qctl._changing_trigger(p_attachment.relation) is not null then
    raise warning '% of % may change rows again: changes are captured row by row, before it', qctl._changing_trigger(p_attachment.relation), p_attachment.relation
      using hint = 'the order is right for statements of one row; not where it changes other rows of the same statement';
  end if;
  if exists (select from qctl.webhooks(p_attachment.relation::oid::text) w where w.enabled) then
    raise warning 'table % also has a Supabase Database Webhook: %', p_attachment.relation,
        (select string_agg(w.trigger_name, ', ') from qctl.webhooks(p_attachment.relation::oid::text) w where w.enabled)
      using hint = 'each change is sent twice; to take the webhook over: qctl adopt-webhook';
  end if;
end
$$;

create or replace function qctl._attached(p_attachment qctl.attachment, p_queue text)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p_attachment.relation::text, p_queue, o, qctl._capture_trigger(p_attachment, o),
         (select pg_get_userbyid(p.proowner)::text from pg_proc p where p.oid = qctl._row_function(p_attachment.name))
  from unnest(p_attachment.operations) with ordinality as u (o, n) order by n
$$;

create or replace function qctl.attach(
  p_relation text, p_queue text, p_operations text[] default '{INSERT,UPDATE,DELETE}', p_when text default null,
  p_columns text[] default null, p_payload text default 'qctl', p_unchanged boolean default false, p_as_me boolean default false,
  p_replicated boolean default false, p_on_error text default 'hold', p_max_bytes integer default 524288,
  p_order_by text default null, p_body text default null)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_relation regclass := qctl._relation(p_relation);
  v_attachment qctl.attachment;
begin
  perform qctl._check_attachable(v_relation);
  if exists (select from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = v_relation) then
    raise exception 'table % is already attached to queue ''%''', v_relation, p_queue
      using errcode = 'QC007', hint = format('to change its options: qctl attach %s -q %s --change', qctl._word(v_relation::text), p_queue);
  end if;
  v_attachment.queue_id := v_queue.queue_id;
  v_attachment.relation := v_relation;
  v_attachment.operations := p_operations;
  v_attachment.when_sql := p_when;
  v_attachment.columns := p_columns;
  v_attachment.payload := p_payload;
  v_attachment.unchanged := coalesce(p_unchanged, false);
  v_attachment.replicated := coalesce(p_replicated, false);
  v_attachment.on_error := p_on_error;
  v_attachment.max_bytes := p_max_bytes;
  v_attachment.order_by := p_order_by;
  v_attachment.body_sql := p_body;
  v_attachment.name := qctl._attachment_name(p_queue, v_relation);
  v_attachment := qctl._check_options(v_attachment);
  v_attachment.as_me := qctl._captures_as_me(v_relation, coalesce(p_as_me, false));
  insert into qctl.attachment (queue_id, relation, operations, when_sql, columns, payload, unchanged, level, replicated, as_me, on_error, max_bytes,
                               order_by, name, table_name, uses, body_sql)
  select v_attachment.queue_id, v_attachment.relation, v_attachment.operations, v_attachment.when_sql, v_attachment.columns, v_attachment.payload,
         v_attachment.unchanged, v_attachment.level, v_attachment.replicated, v_attachment.as_me, v_attachment.on_error, v_attachment.max_bytes,
         v_attachment.order_by, v_attachment.name, v_attachment.table_name, v_attachment.uses, v_attachment.body_sql
  returning * into v_attachment;
  perform qctl._capture(v_attachment, v_queue);
  perform qctl._audit('attach', p_queue, to_jsonb(v_attachment) - '{attachment_id,queue_id,created_at,created_by,name,uses}'::text[]);
  return query select * from qctl._attached(v_attachment, p_queue);
end
$$;
comment on function qctl.attach(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text, text) is
  'Captures the changes of a table into a queue. Waits at most 2 s for the lock on the table. '
  'p_order_by: the column whose value is the order key; messages with the same value are delivered one at a time, in order. '
  'p_payload: the format, one of qctl._shapes(). p_body: an expression over new, old and operation that makes the payload.';

create or replace function qctl._capture(p_attachment qctl.attachment, p_queue qctl.queue) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform qctl._lock_for_triggers(p_attachment, case when p_attachment.order_by is not null and qctl._order_index_state(p_queue.queue_name) <> 'valid'
                                                     then array[to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name))::oid] else '{}' end);
  if p_attachment.order_by is not null and not p_queue.ordered then
    perform qctl.set_queue(p_queue.queue_name, p_settings => '{"ordered": true}');
  end if;
  perform qctl._check_net_formats(p_queue);
  perform qctl._drop_unneeded_functions(p_attachment);
  perform qctl._make_functions(p_attachment, p_queue.queue_name);
  perform qctl._place_triggers(p_attachment);
  perform qctl._warn_about(p_attachment);
end
$$;
comment on function qctl._capture(qctl.attachment, qctl.queue) is 'Makes the functions and triggers of an attachment what its row says.';
