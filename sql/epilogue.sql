-- Runs last in every install and upgrade that applied something, inside their transaction.
insert into qctl.audit (verb, detail)
select 'upgrade', jsonb_build_object('applied', jsonb_agg(name order by name))
from (select name from qctl.migration where applied_at = now() union all select name from qctl.routine where applied_at = now()) as a
having count(*) > 0;
-- Running CALLs of the old code end at their next step.
update qctl.scheduler set generation = generation + 1
where exists (select from qctl.migration where applied_at = now()) or exists (select from qctl.routine where applied_at = now());
set local check_function_bodies = on;
select fmgr_sql_validator(p.oid) from pg_proc p join pg_language l on l.oid = p.prolang
where p.pronamespace = 'qctl'::regnamespace and l.lanname = 'sql' and p.prosqlbody is null;
select plpgsql_validator(p.oid) from pg_proc p join pg_language l on l.oid = p.prolang
where p.pronamespace = 'qctl'::regnamespace and l.lanname = 'plpgsql' and not qctl._is_generated(p.proname);
select qctl._refresh_captures()
where exists (select from qctl.routine where name in ('column_types', 'facts', 'row_function', 'row_trigger', 'statement_trigger', 'text_row',
                                                     'trigger_function', 'triggers') and applied_at = now());
select qctl._drop_kept_functions() where not exists (select from qctl.migration where version = 13 and applied_at = now());
select qctl._take_out(q.queue_name) from qctl.queue q;
select qctl._make_status_view(q.queue_name) from qctl.queue q;
select qctl._drop_orphaned_functions();
select qctl._make_queue_functions(q) from qctl.queue q;
select qctl._close_routines();
select qctl._refresh_grants();
-- What verify compares with later.
select qctl._remember_objects();
