-- Capture that stays true whatever happens to a table: attachments have a name that is the same in every database, events that cannot
-- be queued as asked are held instead of failing the application's statement. Takes no lock on a captured table: triggers call the
-- renamed functions.
alter table qctl.attachment
  add column name text,
  add column table_name text,
  add column uses jsonb not null default '{}',
  drop constraint if exists attachment_on_error_check,
  alter column on_error set default 'hold';
update qctl.attachment a
set name = left(regexp_replace(lower(q.queue_name || '_' || coalesce(c.relname, 'table')), '[^a-z0-9_]+', '_', 'g'), 30) || '_'
           || left(md5(format('%s %s.%s', q.queue_name, n.nspname, coalesce(c.relname::text, a.attachment_id::text))), 8),
    table_name = case when c.oid is null then a.relation::oid::text else format('%I.%I', n.nspname, c.relname) end
from qctl.attachment x
join qctl.queue q on q.queue_id = x.queue_id
left join pg_class c on c.oid = x.relation
left join pg_namespace n on n.oid = c.relnamespace
where x.attachment_id = a.attachment_id;
do $$
declare
  v_tables text;
begin
  with changed as (update qctl.attachment a set on_error = 'hold' where a.on_error = 'fail' returning a.table_name)
  select string_agg(distinct c.table_name, ', ' order by c.table_name) into v_tables from changed c;
  if v_tables is not null then
    raise warning 'an event that cannot be queued is held now, instead of failing the statement: %', v_tables
      using hint = 'to have it fail the statement as before: qctl attach TABLE -q QUEUE --change --on-error fail';
  end if;
end
$$;
alter table qctl.attachment
  alter column name set not null,
  alter column table_name set not null,
  add constraint attachment_name_key unique (name),
  add constraint attachment_on_error_check check (on_error in ('hold', 'fail', 'skip'));
comment on column qctl.attachment.name is 'Stands in the names of its triggers and functions: the same for one queue and table in every database.';
comment on column qctl.attachment.table_name is 'As it was when attached or last changed: finds a table that was dropped and made again.';
comment on column qctl.attachment.uses is 'Columns that its options name, each with its attnum: finds a column that was renamed.';
comment on column qctl.attachment.on_error is 'When an event cannot be queued as asked: hold it, fail the statement, or skip it.';

create table qctl.held_event (
  held_id       bigint generated always as identity primary key,
  attachment_id integer not null references qctl.attachment on delete cascade,
  captured_at   timestamptz not null default clock_timestamp(),
  operation     text not null,
  message       jsonb not null,
  order_key     text,
  reason        text not null
);
create index held_event_attachment on qctl.held_event (attachment_id, held_id);
comment on table qctl.held_event is 'Events that could not be queued as their attachment asks. They go out in the order of held_id once it can.';

-- Triggers hold on to their functions by number, so the new names and bodies reach them without a lock on any table.
do $$
declare
  v_function record;
begin
  for v_function in
    select p.oid::regprocedure as function, p.proname, a.name, right(p.proname, -length(format('capture_%s_', a.attachment_id))) as what
    from qctl.attachment a join pg_proc p on p.pronamespace = 'qctl'::regnamespace and p.proname like format('capture\_%s\_%%', a.attachment_id)
  loop
    if v_function.what in ('key', 'row', 'order') then
      execute format('drop function %s', v_function.function);
    else
      execute format('alter function %s rename to %I', v_function.function, format('capture_%s_%s', v_function.name, v_function.what));
    end if;
  end loop;
end
$$;

-- Functions that the files of sql/routines/capture do without now.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace
      and p.proname in ('_check_when', '_by_row', '_make_capture', '_own_capture', '_holds_json', '_row_expression', '_capture_body', '_key_body',
                        '_row_body', '_capture_failed', '_capture_function', '_capture_trigger', '_capture_functions')
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;
delete from qctl.routine r where r.name = 'capture';
