-- Triggers: where an attachment has them, and making exactly those.

create or replace function qctl._inherits(p_relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = p_relation and not c.relispartition)
$$;

create or replace function qctl._root(p_relation regclass) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive above as (
    select p_relation::oid as id, 0 as steps
    union
    select i.inhparent, a.steps + 1 from above a join pg_inherits i on i.inhrelid = a.id
  )
  select a.id::regclass from above a order by a.steps desc, a.id limit 1
$$;
comment on function qctl._root(regclass) is 'The table that this one is a partition or child of, itself if it is none: triggers belong there.';

create or replace function qctl._changing_trigger(p_relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- A row trigger of the application's, or a foreign key by which the table changes its own rows.
  select coalesce(
    (select format('trigger %I', t.tgname) from pg_trigger t
     where t.tgrelid = p_relation and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 1 = 1 and t.tgtype & 66 = 0
       and t.tgfoid not in (select p.oid from pg_proc p where p.pronamespace = 'qctl'::regnamespace)
     order by t.tgname limit 1),
    (select format('foreign key %I', c.conname) from pg_constraint c
     where c.conrelid = p_relation and c.confrelid = p_relation and c.contype = 'f' and (c.confupdtype in ('c', 'n', 'd') or c.confdeltype in ('c', 'n', 'd'))
     order by c.conname limit 1))
$$;
comment on function qctl._changing_trigger(regclass) is 'What may change rows of the table after a statement did and before a statement trigger fires.';

create or replace function qctl._level(p_attachment qctl.attachment) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.replicated or qctl._inherits(p_attachment.relation)
                   or p_attachment.order_by is not null and qctl._changing_trigger(p_attachment.relation) is not null
              then 'row' else 'statement' end
$$;

create or replace function qctl._captured_relations(p_relation regclass) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive tree as (
    select p_relation::oid as id
    union
    select i.inhrelid from tree t join pg_inherits i on i.inhparent = t.id
  )
  select t.id::regclass from tree t join pg_class c on c.oid = t.id where c.relkind in ('r', 'p') order by t.id
$$;
comment on function qctl._captured_relations(regclass) is 'The table, its partitions and what inherits from it: a statement fires the triggers only of the table that it names.';

create or replace function qctl._foreign_children(p_relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('%s of %I', r.relation, pg_get_userbyid(c.relowner)), ', ' order by r.relation::text)
  from qctl._captured_relations(p_relation) as r (relation) join pg_class c on c.oid = r.relation
  where not c.relispartition and c.relowner <> (select p.relowner from pg_class p where p.oid = p_relation)
$$;
comment on function qctl._foreign_children(regclass) is
  'What inherits from the table but belongs to another role: types of it may bring that role''s code, which must not run as the parent''s owner.';

create or replace function qctl._wanted_triggers(p_attachment qctl.attachment)
returns table (relation regclass, operation text, trigger_name text, by_row boolean, cloned boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.relation, o.operation, qctl._capture_trigger(p_attachment, o.operation), b.by_row,
         -- PostgreSQL gives partitions their parent's row triggers itself.
         b.by_row and c.relispartition
  from unnest(p_attachment.operations) with ordinality as o (operation, n)
  cross join lateral (select p_attachment.level = 'row' and o.operation <> 'TRUNCATE' as by_row) b
  cross join lateral qctl._captured_relations(p_attachment.relation) as r (relation)
  join pg_class c on c.oid = r.relation
  order by r.relation, o.n
$$;

create or replace function qctl._present_triggers(p_attachment qctl.attachment)
returns table (relation regclass, operation text, trigger_name text, by_row boolean, cloned boolean, state text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select t.tgrelid::regclass, upper(substring(p.proname from '[a-z]+$')), t.tgname::text, t.tgtype & 1 = 1, t.tgparentid <> 0, t.tgenabled::text
  from pg_proc p join pg_trigger t on t.tgfoid = p.oid
  where p.oid in (select f from qctl._capture_functions(p_attachment.name) f)
$$;

create or replace function qctl._lock_for_triggers(p_attachment qctl.attachment, p_more oid[] default '{}') returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select qctl._lock_tables(
    p_more || array(
      select w.relation::oid from qctl._wanted_triggers(p_attachment) w
      where not exists (select from qctl._present_triggers(p_attachment) p
                        where p.relation = w.relation and p.operation = w.operation and p.trigger_name = w.trigger_name
                          and p.state = case when p_attachment.replicated then 'A' else 'O' end)),
    array(
      select p.relation::oid from qctl._present_triggers(p_attachment) p
      where not exists (select from qctl._wanted_triggers(p_attachment) w
                        where w.relation = p.relation and w.operation = p.operation and w.trigger_name = p.trigger_name and w.by_row = p.by_row)))
$$;
comment on function qctl._lock_for_triggers(qctl.attachment, oid[]) is 'Takes the locks that making and dropping the triggers of an attachment needs, and p_more, at once.';

create or replace function qctl._place_triggers(p_attachment qctl.attachment) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger record;
begin
  for v_trigger in
    select p.relation, p.trigger_name from qctl._present_triggers(p_attachment) p
    where not p.cloned and not exists (
      select from qctl._wanted_triggers(p_attachment) w
      where w.relation = p.relation and w.operation = p.operation and w.trigger_name = p.trigger_name and w.by_row = p.by_row and not w.cloned)
  loop
    execute format('drop trigger %I on %s', v_trigger.trigger_name, v_trigger.relation);
  end loop;
  for v_trigger in
    select w.*, p.state from qctl._wanted_triggers(p_attachment) w
    left join qctl._present_triggers(p_attachment) p on p.relation = w.relation and p.operation = w.operation and p.trigger_name = w.trigger_name
    where not w.cloned or p.state is not null
  loop
    if v_trigger.state is null then
      execute format('create trigger %I after %s on %s %s execute function qctl.%I()', v_trigger.trigger_name, v_trigger.operation, v_trigger.relation,
        case when v_trigger.by_row then 'for each row'
             when v_trigger.operation = 'TRUNCATE' then 'for each statement'
             else format('referencing %s for each statement', case v_trigger.operation
               when 'INSERT' then 'new table as new_rows' when 'DELETE' then 'old table as old_rows'
               else 'old table as old_rows new table as new_rows' end) end,
        qctl._capture_function(p_attachment.name, v_trigger.operation));
    end if;
    if coalesce(v_trigger.state, 'O') <> (case when p_attachment.replicated then 'A' else 'O' end) then
      execute format('alter table %s enable%s trigger %I', v_trigger.relation, case when p_attachment.replicated then ' always' else '' end, v_trigger.trigger_name);
    end if;
  end loop;
end
$$;
comment on function qctl._place_triggers(qctl.attachment) is 'Makes, enables and drops triggers until they are what the attachment wants; touches no table where they are.';

create or replace function qctl._make_functions(p_attachment qctl.attachment, p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pinned text[] := case when p_attachment.level = 'row' then array(select s.name from qctl._pinned_settings() s order by s.name)
                          else qctl._settings_that_change(p_attachment.relation, qctl._is_plain(p_attachment)) end;
  v_owner name := (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_attachment.relation);
  v_settings text := 'set search_path = pg_catalog, pg_temp';
  v_operation text;
  v_function regprocedure;
  v_mine boolean;
begin
  for v_function, v_mine in
    select p.oid, pg_get_userbyid(p.proowner) = current_user from pg_proc p where p.oid in (select f from qctl._capture_functions(p_attachment.name) f)
  loop
    if not v_mine then
      execute format('alter function %s owner to %I', v_function, current_user);
    end if;
    -- PostgreSQL checks the body of a function only for who may execute it.
    execute format('grant execute on function %s to %I', v_function, current_user);
  end loop;
  -- No more than needed, because each setting costs every statement about half a microsecond.
  v_settings := v_settings || coalesce((select string_agg(format(' set %s = %L', s.name, s.value), '') from qctl._pinned_settings() s where s.name = any (v_pinned)), '');
  -- PL/pgSQL would plan its statements that have variables at each of a session's first five runs, which takes milliseconds.
  if p_attachment.level = 'statement' and not qctl._is_plain(p_attachment) then
    v_settings := v_settings || ' set plan_cache_mode = force_generic_plan';
  end if;
  -- Only if the condition has a backslash.
  if strpos(concat(p_attachment.when_sql, p_attachment.body_sql), E'\\') > 0 then
    v_settings := v_settings || ' set standard_conforming_strings = on';
  end if;
  execute format('create or replace function qctl.%I(operation text, relation regclass, new anyelement, old anyelement, hidden text[]) '
                 'returns jsonb language plpgsql volatile security definer as %L',
                 qctl._capture_function(p_attachment.name, 'row'), qctl._row_body(p_attachment));
  execute format($function$create or replace function qctl.%I(relation regclass, value jsonb) returns record language plpgsql stable security definer as %L$function$,
                 qctl._capture_function(p_attachment.name, 'record'), $body$
declare
  v_record record;
begin
  execute format('select r.* from jsonb_populate_record(null::%s, $1) as r', relation) into v_record using coalesce(value, '{}');
  return v_record;
end
$body$);
  foreach v_operation in array p_attachment.operations loop
    execute format('create or replace function qctl.%I() returns trigger language plpgsql security definer %s%s as %L',
      qctl._capture_function(p_attachment.name, v_operation), v_settings,
      -- Plans are kept, and one made for a single row would join many rows by a nested loop.
      case when v_operation = 'UPDATE' and p_attachment.level = 'statement' then ' set enable_nestloop = off' end,
      qctl._capture_body(p_attachment, p_queue, v_operation, v_pinned));
    execute format('comment on function qctl.%I() is %L', qctl._capture_function(p_attachment.name, v_operation),
                   format('%s of %s to queue %s', v_operation, p_attachment.table_name, p_queue));
  end loop;
  for v_function in select qctl._capture_functions(p_attachment.name) loop
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to %I', v_function, current_user);
  end loop;
  if p_attachment.level = 'row' then
    -- A role that creates a partition must be allowed to execute the trigger functions.
    for v_function in select f from qctl._capture_functions(p_attachment.name) f where f::text ~ '\(\)$' loop
      execute format('grant execute on function %s to %I', v_function, v_owner);
    end loop;
  end if;
  if not p_attachment.as_me and v_owner <> current_user then
    perform qctl._give_functions(p_attachment.name, v_owner);
  end if;
end
$$;

create or replace function qctl._give_functions(p_name text, p_owner name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_me name := current_user;
  v_role text := current_setting('role');
  v_missing text := (select string_agg(r, ', ') from unnest('{CREATE,USAGE}'::text[]) r where not has_schema_privilege(p_owner, 'qctl', r));
  v_function regprocedure;
begin
  if v_missing is not null then
    execute format('grant %s on schema qctl to %I', v_missing, p_owner);
  end if;
  for v_function in
    select p.oid from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and p.proname ~ format('^capture_%s_(row|record|page|count)$', p_name)
  loop
    execute format('alter function %s owner to %I', v_function, p_owner);
    perform set_config('role', p_owner, true);
    execute format('grant execute on function %s to %I', v_function, v_me);
    perform set_config('role', v_role, true);
  end loop;
  if v_missing is not null then
    execute format('revoke %s on schema qctl from %I', v_missing, p_owner);
  end if;
end
$$;
comment on function qctl._give_functions(text, name) is 'Makes the functions that run the owner''s code the owner''s, executable by who attached.';
