-- Verify attachments: what of a table, its triggers or its functions is not as its attachment needs it. Everything that capture depends
-- on is compared, so that a fault is found before the first write that meets it.

create or replace function qctl._pinned_of(p_settings text[]) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(s.name order by s.name), '{}')
  from unnest(p_settings) c join qctl._pinned_settings() s on s.name = lower(split_part(c, '=', 1))
$$;

create or replace function qctl._function_problems(p_attachment qctl.attachment, p_queue text) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row pg_proc;
begin
  return query
  select format('the capture function for %s is %s', o.operation, case when p.oid is null then 'missing' else 'not what the table needs now' end)
  from unnest(p_attachment.operations) as o (operation)
  left join pg_proc p on p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(p_attachment.name, o.operation)
  where p.prosrc is distinct from qctl._capture_body(p_attachment, p_queue, o.operation, qctl._pinned_of(p.proconfig))
     or not p.prosecdef or not has_table_privilege(p.proowner, format('pgmq.%I', 'q_' || p_queue), 'INSERT')
        and not has_any_column_privilege(p.proowner, format('pgmq.%I', 'q_' || p_queue), 'INSERT');
  select * into v_row from pg_proc p where p.oid = qctl._row_function(p_attachment.name);
  if not found then
    return next 'the function that converts its rows is missing';
  elsif v_row.prosrc <> qctl._row_body(p_attachment) or not v_row.prosecdef
        or not exists (select from pg_proc p where p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(p_attachment.name, 'record')) then
    return next 'the function that converts its rows is not what the table needs now';
  elsif exists (select from unnest(p_attachment.operations) o join pg_proc p on p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(p_attachment.name, o)
                where not has_function_privilege(p.proowner, v_row.oid, 'EXECUTE')) then
    return next 'its capture may not execute the function that converts its rows';
  elsif not qctl._runs_as_owner(p_attachment.name, p_attachment.relation) then
    return next format('it belongs to %s now, but its capture runs as %s', (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_attachment.relation),
                       pg_get_userbyid(v_row.proowner));
  end if;
end
$$;

create or replace function qctl._column_problems(p_attachment qctl.attachment) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when u.present is null then format('column %s, which its options name, is gone', u.name)
              else format('column %s, which its options name, is called %s now', u.name, u.present) end
  from qctl._used_columns(p_attachment) u where u.present is distinct from u.name
  union all
  select format('column %s, which its options name, is of type %s now and was %s', u.key, format_type(a.atttypid, a.atttypmod),
                p_attachment.uses -> 'types' ->> u.key)
  from jsonb_each_text(p_attachment.uses -> 'columns') u
  join pg_attribute a on a.attrelid = p_attachment.relation and a.attname = u.key and not a.attisdropped
  where p_attachment.uses -> 'types' ->> u.key <> format_type(a.atttypid, a.atttypmod)
  union all
  select format('column %s, which its options name, is a virtual generated one now', u.key)
  from jsonb_each_text(p_attachment.uses -> 'columns') u where u.key = any (qctl._virtual_columns(p_attachment.relation))
$$;

create or replace function qctl._trigger_problems(p_attachment qctl.attachment) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with wanted as (
    select * from qctl._wanted_triggers(p_attachment)
  ), present as (
    select * from qctl._present_triggers(p_attachment)
  )
  select format('trigger for %s is %s', string_agg(w.operation, ', ' order by w.operation), case when p.trigger_name is null then 'missing'
                when p.state = 'D' then 'disabled' else 'set to fire in the wrong sessions' end)
         || case when w.relation = p_attachment.relation then '' else format(' on %s', w.relation) end
  from wanted w left join present p on p.relation = w.relation and p.operation = w.operation and p.by_row = w.by_row
  where p.trigger_name is null or p.state in ('D', 'R') or p_attachment.replicated and p.state <> 'A'
  group by w.relation, p.trigger_name is null, p.state
  union all
  select format('trigger %I on %s is a copy that captures nothing', p.trigger_name, p.relation)
  from present p where not p.cloned and not exists (select from wanted w where w.relation = p.relation and w.operation = p.operation and w.by_row = p.by_row)
                   and qctl._belongs(p_attachment.name, p.relation) is not true
$$;

create or replace function qctl._attachment_problems(p_attachment qctl.attachment, p_queue text) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue)) is null then
    return;
  elsif not exists (select from pg_class c where c.oid = p_attachment.relation) then
    return next case when qctl._attached_relation(p_attachment.name) is null then 'the table is gone' else 'the table was dropped and created again' end;
    return;
  elsif exists (select from pg_inherits i where i.inhrelid = p_attachment.relation) then
    return next 'it is now a partition or child of another table, and writes through that table are not captured';
    return;
  elsif not p_attachment.as_me and qctl._foreign_children(p_attachment.relation) is not null then
    return next format('tables that inherit from it belong to other roles, so their rows cannot be converted: %s', qctl._foreign_children(p_attachment.relation));
    return;
  end if;
  if p_attachment.table_name <> qctl._table_name(p_attachment.relation) then
    return next format('it was %s when it was attached', p_attachment.table_name);
  end if;
  return query select * from qctl._column_problems(p_attachment);
  if p_attachment.level <> qctl._level(p_attachment) then
    return next coalesce('rows may be changed again by ' || qctl._changing_trigger(p_attachment.relation), 'its triggers are of an older kind, which captures some changes in another form');
  end if;
  return query select * from qctl._trigger_problems(p_attachment);
  return query select * from qctl._function_problems(p_attachment, p_queue);
end
$$;

create or replace function qctl._change_options(p_attachment qctl.attachment) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- What is gone cannot be followed, nor can what no trigger sees.
  with gone as (
    select u.name, u.condition from qctl._used_columns(p_attachment) u
    where u.present is null or u.present = any (qctl._virtual_columns(p_attachment.relation))
  )
  select concat_ws('',
    case when exists (select from gone g where g.condition) then ' --when ''''' end,
    case when exists (select from gone g where g.name = any (p_attachment.columns))
         then ' --columns ' || qctl._word(coalesce((select string_agg(c, ',') from unnest(p_attachment.columns) c where c not in (select g.name from gone g)), '')) end,
    case when exists (select from gone g where g.name = p_attachment.order_by) then ' --order-by ''''' end,
    case when exists (select from gone g where p_attachment.uses -> 'body' ? g.name) then ' --body ''''' end)
$$;
comment on function qctl._change_options(qctl.attachment) is 'Options without which the attachment cannot go on, because a column that they name is gone.';

create or replace function qctl._attachment_fix(p_attachment qctl.attachment, p_queue text, p_only_held boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation regclass := qctl._attached_relation(p_attachment.name);
  v_table text := qctl._word(coalesce(qctl._table_name(v_relation), p_attachment.table_name));
  v_root regclass := qctl._root(v_relation);
begin
  if v_relation is null
     or v_root <> v_relation and exists (select from qctl.attachment a where a.queue_id = p_attachment.queue_id and a.relation = v_root) then
    return format('qctl detach %s -q %s', v_table, p_queue);
  end if;
  p_attachment.relation := v_relation;
  return format('qctl attach %s -q %s --change', v_table, p_queue) || qctl._change_options(p_attachment)
         || case when not p_attachment.as_me and qctl._foreign_children(v_relation) is not null then ' --as-me' else '' end
         -- An error that comes from the values of a row comes again.
         || case when p_only_held and (select h.reason ~ 'SQLSTATE' and h.reason !~ 'SQLSTATE (42|3F|XX)' from qctl.held_event h
                                       where h.attachment_id = p_attachment.attachment_id order by h.held_id limit 1)
                 then ' --release' else '' end;
end
$$;

create or replace function qctl._verify_attachments(p_queue_id integer default null)
returns table (object text, problem text, fix text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_column
declare
  v_attachment qctl.attachment;
  v_queue text;
  v_held record;
  v_problems text;
  v_only_held boolean;
begin
  for v_attachment in
    select a.* from qctl.attachment a where p_queue_id is null or a.queue_id = p_queue_id order by a.table_name, a.queue_id
  loop
    select q.queue_name into v_queue from qctl.queue q where q.queue_id = v_attachment.queue_id;
    select string_agg(p, '; ' order by n) into v_problems
    from (select p, min(n) as n from qctl._attachment_problems(v_attachment, v_queue) with ordinality as u (p, n) group by p) d;
    select count(*) as events, min(h.captured_at) as since, (array_agg(h.reason order by h.held_id))[1] as reason into v_held
    from (select * from qctl.held_event h where h.attachment_id = v_attachment.attachment_id order by h.held_id limit 100001) h;
    v_only_held := v_problems is null;
    if v_held.events > 0 then
      v_problems := concat_ws('; ', v_problems, format('%s %s held since %s: %s', case when v_held.events > 100000 then 'more than 100000' else v_held.events::text end,
        case when v_held.events = 1 then 'event is' else 'events are' end, qctl._shown_time(v_held.since), v_held.reason));
    end if;
    v_problems := concat_ws('; ', v_problems, (
      select string_agg(format(case when k.marked and k.statements = 1 then 'in %s statement since %s %s: its messages hold the whole row instead'
                                    when k.marked then 'in %s statements since %s %s: their messages hold the whole row instead'
                                    else '%s statements were not captured since %s, %s' end, k.statements, qctl._shown_time(k.since),
                               case when k.marked then k.error else 'SQLSTATE ' || k.state end), '; ')
      from (select e.error ~ '^(the body|triggers call each other)' as marked, sum(e.statements) as statements, min(e.minute) as since,
                   min(e.sqlstate) as state, (array_agg(e.error order by e.minute desc))[1] as error
            from qctl.capture_error e where e.attachment_id = v_attachment.attachment_id group by 1) k));
    if v_problems <> '' then
      return query select coalesce(qctl._table_name(v_attachment.relation), v_attachment.table_name), v_problems, qctl._attachment_fix(v_attachment, v_queue, v_only_held);
    end if;
  end loop;
end
$$;
comment on function qctl._verify_attachments(integer) is 'One row for each attachment that is not as it should be, with the one command that makes it so.';
