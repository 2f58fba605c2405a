-- Attach and detach: create and drop the triggers that capture a table.

create or replace function qctl._check_when(p_relation regclass, p_operations text[], p_when text, p_by_row boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
as $$
declare
  v_function text := format('qctl.%I()', 'check_when_' || pg_backend_pid());
  v_operation text;
begin
  foreach v_operation in array p_operations loop
    continue when v_operation = 'TRUNCATE';
    -- Creates a function that is never called, because its body is parsed but not planned: planning would run code of the table's
    -- owner (expressions of indexes and checks, constants of the condition) with the rights of this role. The condition cannot begin
    -- another statement: it appears within one parenthesis and within two, and could not close both.
    execute format('create function %s returns integer language sql as %L', v_function,
      format(E'select 1 where exists (select from %1$s where (%2$s\n)) and exists (select from %1$s where ((%2$s\n)))', concat_ws(' cross join ',
        case when v_operation <> 'DELETE' then format('%s as new', p_relation) end,
        case when v_operation <> 'INSERT' then format('%s as old', p_relation) end,
        -- A row trigger knows columns only as new.x and old.x; two more copies of the table make a bare name ambiguous.
        case when p_by_row then format('%1$s as "qctl 1" cross join %1$s as "qctl 2"', p_relation) end), p_when));
    execute 'drop function ' || v_function;
  end loop;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table then
  raise exception '--when is not a valid condition for %: %', v_operation, sqlerrm
    using errcode = 'QC002',
          hint = 'for example --when "new.status = ''paid''"; INSERT has no old row and DELETE no new row, so choose operations with --on';
end
$$;

create or replace function qctl._by_row(p_relation regclass, p_replicated boolean) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p_replicated or c.relkind = 'p' or exists (select from pg_inherits i where i.inhparent = p_relation)
  from pg_class c where c.oid = p_relation
$$;

create or replace function qctl._captured_relations(p_relation regclass) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive tree as (
    select p_relation::oid as id
    union
    select i.inhrelid from tree t join pg_inherits i on i.inhparent = t.id join pg_class c on c.oid = i.inhrelid and not c.relispartition
  )
  select t.id::regclass from tree t join pg_class c on c.oid = t.id order by t.id
$$;
comment on function qctl._captured_relations(regclass) is
  'The tables that have the triggers: the table itself and the tables that '
  'inherit from it. PostgreSQL adds triggers of the parent to partitions.';

create or replace function qctl._foreign_children(p_relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('%s of %I', r.relation, pg_get_userbyid(c.relowner)), ', ' order by r.relation::text)
  from qctl._captured_relations(p_relation) as r (relation) join pg_class c on c.oid = r.relation
  where c.relowner <> (select p.relowner from pg_class p where p.oid = p_relation)
$$;
comment on function qctl._foreign_children(regclass) is
  'Tables that inherit from the table but belong to another role. Their types may contain code of that role, which must not run as the '
  'owner of the parent.';

create or replace function qctl.attach(
  p_relation text, p_queue text, p_operations text[] default '{INSERT,UPDATE,DELETE}', p_when text default null,
  p_columns text[] default null, p_payload text default 'qctl', p_unchanged boolean default false, p_as_me boolean default false,
  p_replicated boolean default false, p_on_error text default 'fail', p_max_bytes integer default 524288,
  p_order_by text default null)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_relation regclass;
  v_class pg_class;
  v_owner name;
  v_column text;
  v_attachment qctl.attachment;
  v_may_own boolean;
begin
  begin
    v_relation := to_regclass(p_relation);
  exception when others then
    v_relation := null;
  end;
  if v_relation is null then
    raise exception 'table % not found', quote_literal(coalesce(p_relation, ''))
      using errcode = 'QC006', hint = 'include the schema, for example public.users; put names with capitals in double quotes';
  end if;
  select * into v_class from pg_class where oid = v_relation;
  if v_class.relkind not in ('r', 'p') then
    raise exception '% is not a table', v_relation
      using errcode = 'QC007', hint = 'views and foreign tables cannot be attached';
  elsif v_class.relispartition or exists (select from pg_inherits where inhrelid = v_relation) then
    raise exception '% is a partition or child of another table', v_relation
      using errcode = 'QC007',
            hint = format('attach %s', (select i.inhparent::regclass from pg_inherits i where i.inhrelid = v_relation limit 1));
  end if;
  if v_class.relnamespace in ('pgmq'::regnamespace, 'qctl'::regnamespace, 'pg_catalog'::regnamespace) then
    raise exception '% belongs to the pipeline and cannot be attached', v_relation
      using errcode = 'QC007', hint = 'attach a table of your own';
  end if;
  if p_operations is null or cardinality(p_operations) = 0 or not p_operations <@ array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] then
    raise exception 'operations must be one or more of INSERT, UPDATE, DELETE, TRUNCATE' using errcode = 'QC002';
  end if;
  p_operations := array(select distinct o from unnest(p_operations) as o order by o desc);
  if p_payload is null or p_payload not in ('qctl', 'supabase') then
    raise exception '% is not a payload format', quote_nullable(p_payload) using errcode = 'QC002', hint = 'use qctl or supabase';
  end if;
  if p_on_error is null or p_on_error not in ('fail', 'skip') then
    raise exception '% is not a valid choice for errors', quote_nullable(p_on_error) using errcode = 'QC002', hint = 'use fail or skip';
  end if;
  if p_max_bytes is null or p_max_bytes not between 1024 and 1048576 then
    raise exception 'the limit for a row must be between 1 KiB and 1 MiB' using errcode = 'QC002';
  end if;
  select c into v_column from unnest(p_columns) as c
  where not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = c and a.attnum > 0 and not a.attisdropped)
  limit 1;
  if found then
    raise exception 'table % has no column %', v_relation, quote_literal(v_column) using errcode = 'QC006';
  end if;
  if p_when is not null then
    perform qctl._check_when(v_relation, p_operations, p_when, qctl._by_row(v_relation, p_replicated));
  end if;
  if exists (select from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = v_relation) then
    raise exception 'table % is already attached to queue ''%''', v_relation, p_queue
      using errcode = 'QC007', hint = format('to change it: qctl detach %s -q %s, then attach again', qctl._word(v_relation::text), p_queue);
  end if;

  -- The column may be given as in the payload, record.user_id, or without the prefix.
  p_order_by := regexp_replace(p_order_by, '^record\.', '');
  if p_order_by is not null then
    if not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = p_order_by and a.attnum > 0 and not a.attisdropped) then
      raise exception 'table % has no column % to order by', v_relation, quote_literal(p_order_by)
        using errcode = 'QC006', hint = 'for example --order-by record.user_id';
    end if;
    if not v_queue.ordered then
      perform qctl.set_queue(p_queue, p_settings => '{"ordered": true}');
    end if;
  end if;

  select string_agg(a.attname, ', ') into v_column from pg_attribute a
  where a.attrelid = v_relation and a.attnum > 0 and a.attgenerated = 'v';
  if v_column is not null then
    raise warning 'virtual generated columns are captured as null: %', v_column;
  end if;

  if not p_as_me and qctl._foreign_children(v_relation) is not null then
    raise exception 'tables that inherit from % belong to other roles: %', v_relation, qctl._foreign_children(v_relation)
      using errcode = 'QC007',
            detail = format('The capture runs as role %s, which must not run the code that types of those tables may contain.',
                            pg_get_userbyid(v_class.relowner)),
            hint = 'give these tables the same owner; or --as-me, to capture them with your own rights';
  end if;
  v_owner := pg_get_userbyid(v_class.relowner);
  v_may_own := pg_has_role(v_class.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end)
               and qctl._foreign_children(v_relation) is null;
  if not v_may_own and not p_as_me then
    raise exception 'the capture of % must run as its owner ''%'', but role ''%'' may not act for that role',
        v_relation, v_owner, current_user
      using errcode = 'QC007',
            detail = 'Types of that table may contain code of its owner, which would run with your rights.',
            hint = format('use --as-me to accept that; or run attach as a member of role %s', v_owner);
  end if;

  insert into qctl.attachment (queue_id, relation, operations, when_sql, columns, payload, unchanged, level, replicated, as_me, on_error, max_bytes, order_by)
  values (v_queue.queue_id, v_relation, p_operations, p_when, case when cardinality(p_columns) > 0 then p_columns end, p_payload, p_unchanged,
          case when qctl._by_row(v_relation, p_replicated) then 'row' else 'statement' end,
          p_replicated, not v_may_own, p_on_error, p_max_bytes, p_order_by)
  returning * into v_attachment;
  perform qctl._make_capture(v_attachment, v_queue.queue_name);
  if v_may_own and v_owner <> current_user then
    perform qctl._own_capture(v_attachment, v_queue.queue_name, v_owner);
  end if;
  if exists (select from qctl.webhooks(v_relation::oid::text) w where w.enabled) then
    raise warning 'table % also has a Supabase Database Webhook: %', v_relation,
        (select string_agg(w.trigger_name, ', ') from qctl.webhooks(v_relation::oid::text) w where w.enabled)
      using hint = 'each change is sent twice; to take the webhook over: qctl adopt-webhook';
  end if;
  perform qctl._audit('attach', p_queue, jsonb_build_object(
    'relation', v_relation::text, 'operations', p_operations, 'when', p_when, 'columns', p_columns, 'payload', p_payload,
    'level', v_attachment.level, 'replicated', p_replicated, 'on_error', p_on_error, 'order_by', p_order_by));
  return query
  select v_relation::text, p_queue, o, qctl._capture_trigger(v_attachment.attachment_id, o),
         case when v_may_own then v_owner else current_user end::text
  from unnest(p_operations) with ordinality as u (o, n) order by n;
end
$$;
comment on function qctl.attach(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text) is
  'Captures the changes of a table into a queue. Waits at most 2 s for the lock on the table. '
  'p_order_by: the column whose value is the order key; messages with the same value are delivered one at a time, in order.';

create or replace function qctl._make_capture(p_attachment qctl.attachment, p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
  v_operation text;
  v_relation regclass;
begin
  perform qctl._make_functions(p_attachment, p_queue);
  for v_function in select qctl._capture_functions(p_attachment.attachment_id) loop
    execute format('revoke all on function %s from public', v_function);
    -- A role that creates a partition must be allowed to execute the trigger functions.
    execute format('grant execute on function %s to %I', v_function,
                   (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_attachment.relation));
  end loop;
  foreach v_operation in array p_attachment.operations loop
    for v_relation in select qctl._captured_relations(p_attachment.relation) loop
      execute format('create trigger %I after %s on %s %s execute function qctl.%I()',
        qctl._capture_trigger(p_attachment.attachment_id, v_operation), v_operation, v_relation,
        case when v_operation = 'TRUNCATE' then 'for each statement'
             when p_attachment.level = 'row' then 'for each row'
             else format('referencing %s for each statement', case v_operation
               when 'INSERT' then 'new table as new_rows' when 'DELETE' then 'old table as old_rows'
               else 'old table as old_rows new table as new_rows' end) end,
        qctl._capture_function(p_attachment.attachment_id, v_operation));
      if p_attachment.replicated then
        execute format('alter table %s enable always trigger %I', v_relation, qctl._capture_trigger(p_attachment.attachment_id, v_operation));
      end if;
    end loop;
  end loop;
end
$$;

create or replace function qctl._own_capture(p_attachment qctl.attachment, p_queue text, p_owner name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
  v_had_create boolean := has_schema_privilege(p_owner, 'qctl', 'CREATE');
begin
  execute format('grant usage on schema pgmq, qctl to %I', p_owner);
  execute format('grant insert (vt, message%s), select (msg_id) on pgmq.%I to %I',
                 case when p_attachment.order_by is not null then ', headers' end, 'q_' || p_queue, p_owner);
  if not v_had_create then
    execute format('grant create on schema qctl to %I', p_owner);
  end if;
  for v_function in select qctl._capture_functions(p_attachment.attachment_id) loop
    execute format('alter function %s owner to %I', v_function, p_owner);
  end loop;
  if not v_had_create then
    execute format('revoke create on schema qctl from %I', p_owner);
  end if;
  if p_attachment.on_error = 'skip' then
    execute format('grant execute on function qctl._capture_failed(integer, text, text) to %I', p_owner);
  end if;
end
$$;

create or replace function qctl.detach(p_relation text, p_queue text default null)
returns table (relation text, queue_name text, trigger_name text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  -- A dropped table is known only by its oid, as describe shows it.
  v_relation regclass := case when p_relation ~ '^[0-9]{1,10}$' then p_relation::oid else to_regclass(p_relation) end;
  v_attachment record;
  v_operation text;
  v_owner name;
  v_name text;
  v_table regclass;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  if not exists (select from qctl.attachment a join qctl.queue q using (queue_id)
                 where a.relation = v_relation and (p_queue is null or q.queue_name = p_queue)) then
    raise exception 'table % is not attached%', coalesce(v_relation::text, quote_literal(p_relation)),
        coalesce(' to queue ' || quote_literal(p_queue), '')
      using errcode = 'QC006',
            hint = coalesce('attached tables: ' || (select string_agg(distinct a.relation::text, ', ') from qctl.attachment a),
                            'no table is attached');
  end if;
  for v_attachment in
    select a.*, q.queue_name from qctl.attachment a join qctl.queue q using (queue_id)
    where a.relation = v_relation and (p_queue is null or q.queue_name = p_queue) order by q.queue_name
  loop
    foreach v_operation in array v_attachment.operations loop
      v_name := qctl._capture_function(v_attachment.attachment_id, v_operation);
      -- Looks for the triggers on all tables because the inheritance may have changed. PostgreSQL drops those of partitions.
      for v_table in
        select t.tgrelid from pg_trigger t
        where t.tgname = qctl._capture_trigger(v_attachment.attachment_id, v_operation) and t.tgparentid = 0
      loop
        execute format('drop trigger %I on %s', qctl._capture_trigger(v_attachment.attachment_id, v_operation), v_table);
      end loop;
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace and p.proname = v_name;
      execute format('drop function if exists qctl.%I()', v_name);
      return query select v_relation::text, v_attachment.queue_name, qctl._capture_trigger(v_attachment.attachment_id, v_operation);
    end loop;
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'key'));
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'row'));
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'order'));
    delete from qctl.attachment a where a.attachment_id = v_attachment.attachment_id;
    delete from qctl.capture_error e where e.attachment_id = v_attachment.attachment_id;
    if v_owner is not null and v_owner <> current_user and not exists (
        select from qctl.attachment a cross join lateral qctl._capture_functions(a.attachment_id) f join pg_proc p on p.oid = f
        where a.queue_id = v_attachment.queue_id and pg_get_userbyid(p.proowner) = v_owner)
       and to_regclass(format('pgmq.%I', 'q_' || v_attachment.queue_name)) is not null then
      execute format('revoke insert (vt, message, headers), select (msg_id) on pgmq.%I from %I', 'q_' || v_attachment.queue_name, v_owner);
    end if;
    perform qctl._audit('detach', v_attachment.queue_name, jsonb_build_object('relation', v_relation::text));
  end loop;
end
$$;
comment on function qctl.detach(text, text) is 'Stops capturing a table. Its messages stay in the queue.';

create or replace function qctl.reattach(p_relation text, p_queue text)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_attachment qctl.attachment;
begin
  select * into v_attachment from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = to_regclass(p_relation);
  if not found then
    raise exception 'table % is not attached to queue ''%''', p_relation, p_queue
      using errcode = 'QC006', hint = format('qctl attach %s -q %s', qctl._word(p_relation), p_queue);
  end if;
  perform qctl.detach(p_relation, p_queue);
  return query select * from qctl.attach(
    p_relation, p_queue, v_attachment.operations, v_attachment.when_sql, v_attachment.columns, v_attachment.payload,
    v_attachment.unchanged, v_attachment.as_me, v_attachment.replicated, v_attachment.on_error, v_attachment.max_bytes, v_attachment.order_by);
end
$$;
comment on function qctl.reattach(text, text) is
  'Creates the triggers of an attachment again with its present options, after '
  'a renamed table or column, a new child table or a lost trigger.';
