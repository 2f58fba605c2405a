-- Facts: what capture must know of its table at each statement. Those about one attachment are declared immutable although they read
-- the catalog, so that the planner computes them. A plan over a transition table is made again after every ALTER of the table, so they
-- cost nothing and are never stale there; nowhere else may they be trusted.

create or replace function qctl._attached_relation(p_name text) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select c.oid from pg_class c where c.oid = a.relation), 
                  (select c.oid from pg_class c where c.oid = to_regclass(a.table_name)::oid and c.relkind in ('r', 'p')))
  from qctl.attachment a where a.name = p_name
$$;
comment on function qctl._attached_relation(text) is 'The table of an attachment; where it was dropped, the one that has its name now.';

create or replace function qctl._row_function(p_name text) returns regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(p_name, 'row')
$$;

create or replace function qctl._runs_as_owner(p_name text, p_relation oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from qctl.attachment a join pg_proc p on p.oid = qctl._row_function(p_name) join pg_class c on c.oid = p_relation
    where a.name = p_name and p.prosecdef and p.proconfig is null and (a.as_me or p.proowner = c.relowner))
$$;
comment on function qctl._runs_as_owner(text, oid) is 'May the row function run? The code that a table''s types bring must not run as anybody but its owner.';

create or replace function qctl._folded_relation(p_name text) returns oid
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._attached_relation(p_name) $$;

create or replace function qctl._folded_queue(p_table text) returns oid
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select to_regclass(p_table)::oid $$;

create or replace function qctl._may_convert(p_name text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select has_function_privilege(qctl._row_function(p_name)::oid, 'EXECUTE') $$;
comment on function qctl._may_convert(text) is 'May this role call the row function? Null if there is none.';

create or replace function qctl._folded_row_function(p_name text) returns oid
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._row_function(p_name)::oid $$;

create or replace function qctl._folded_owned(p_name text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._runs_as_owner(p_name, qctl._attached_relation(p_name)) $$;

create or replace function qctl._folded_virtual(p_name text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._virtual_columns(qctl._attached_relation(p_name)) $$;

create or replace function qctl._folded_builtin(p_name text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._has_only_builtin_types(qctl._attached_relation(p_name)) $$;

create or replace function qctl._folded_direct(p_name text, p_pinned text[]) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select r.id is not null and qctl._has_only_builtin_types(r.id) and p_pinned @> qctl._settings_that_change(r.id, true) and qctl._virtual_columns(r.id) is null
  from (select qctl._attached_relation(p_name) as id) r
$$;
comment on function qctl._folded_direct(text, text[]) is 'May the trigger function convert the rows itself?';

create or replace function qctl._folded_pin(p_name text, p_pinned text[], p_only_json boolean) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select not p_pinned @> qctl._settings_that_change(qctl._attached_relation(p_name), p_only_json) $$;
comment on function qctl._folded_pin(text, text[], boolean) is 'Has the table got a type since its trigger function was made that a setting changes which the function does not pin?';

create or replace function qctl._event_head(p_relation oid, p_operation text, p_payload text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(case p_payload when 'supabase' then 'type' else 'operation' end, p_operation, 'table', c.relname, 'schema', n.nspname,
                            'record', null, 'old_record', null)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_relation
$$;
comment on function qctl._event_head(oid, text, text) is 'An event''s body but for its rows, with the name that the table has now.';

create or replace function qctl._folded_head(p_name text, p_operation text, p_payload text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._event_head(qctl._attached_relation(p_name), p_operation, p_payload) $$;

create or replace function qctl._folded_cloud_source(p_name text, p_operation text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._cloud_source(qctl._event_head(qctl._attached_relation(p_name), p_operation, 'cloudevents')) $$;

create or replace function qctl._belongs(p_name text, p_relation oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(pg_partition_root(p_relation)::oid, p_relation) = r.id
         or exists (select from qctl._captured_relations(r.id) c where c::oid = p_relation)
  from (select qctl._attached_relation(p_name) as id) r
  where r.id is not null
$$;
comment on function qctl._belongs(text, oid) is 'Is this the attached table, or a part of it?';

create or replace function qctl._capture_obstacle(p_name text, p_queue text) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue regclass := to_regclass(format('pgmq.%I', 'q_' || p_queue));
begin
  if v_queue is null then
    return format('pgmq''s table q_%s is gone', p_queue);
  elsif not has_any_column_privilege(v_queue, 'INSERT') then
    return format('%s may not write to %s', current_user, v_queue);
  elsif qctl._row_function(p_name) is null then
    return format('function qctl.%I is gone', qctl._capture_function(p_name, 'row'));
  elsif not has_function_privilege(qctl._row_function(p_name)::oid, 'EXECUTE') then
    return format('%s may not execute %s', current_user, qctl._row_function(p_name));
  elsif current_setting('lock_timeout') <> '0' then
    begin
      execute format('lock table %s in row exclusive mode', v_queue);
    exception when lock_not_available or deadlock_detected then
      return format('%s was locked for longer than the lock_timeout of the session', v_queue);
    end;
  end if;
  return null;
end
$$;
comment on function qctl._capture_obstacle(text, text) is 'Why nothing can be queued now, or null. Looked for before, because a handler around the INSERT would cost every statement a transaction id.';

create or replace function qctl._attachment_id(p_name text) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select a.attachment_id from qctl.attachment a where a.name = p_name $$;

create or replace function qctl._capture_function(p_name text, p_operation text) returns text
language sql immutable parallel safe
return format('capture_%s_%s', p_name, lower(p_operation));

create or replace function qctl._capture_trigger(p_attachment qctl.attachment, p_operation text) returns text
language sql immutable
-- Triggers fire in the order of their names: before one that changes rows again.
return case when (p_attachment).level = 'row' and (p_attachment).order_by is not null then '!' else '' end
       || format('qctl_capture_%s_%s', (p_attachment).name, lower(p_operation));

create or replace function qctl._capture_functions(p_name text) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and p.proname ~ format('^capture_%s_(insert|update|delete|truncate|row|record)$', p_name) order by p.proname
$$;

create or replace function qctl._folded_attachment_id(p_name text) returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select qctl._attachment_id(p_name) $$;
