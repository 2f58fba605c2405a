-- Plain words: "mend" becomes "fix", "ailment" becomes "cause", and routine files get the names of what they hold. Locks: what
-- ALTER VIEW takes on qctl.status, for an instant; a view of yours that reads its column keeps reading it under the new name.
alter type qctl.ailment rename to cause;
alter type qctl.cause rename attribute health to cause;
alter type qctl.cause rename attribute mend to fix;
comment on type qctl.cause is 'What is wrong with a queue, since when as far as is known, why, and the command that fixes it.';
alter type qctl.finding rename attribute mend to fix;

do $$
begin
  -- The view of 0.1.0 has no such column.
  if exists (select from pg_attribute a where a.attrelid = to_regclass('qctl.status') and a.attname = 'mend') then
    alter view qctl.status rename column mend to fix;
  end if;
end
$$;

-- Functions whose columns or names change; the routine files make them again.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace
      and (p.proname in ('health', 'check', 'doctor', 'verify', '_verify_attachments', '_verify_tables', '_ailments', 'give_up')
           or p.proname ~ '^_(ails|examine)_')
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- Files that were only renamed are not applied again.
update qctl.routine r set name = n.new
from (values ('privileges', 'grants'), ('declared', 'manifest'), ('net', 'pg_net'), ('partition', 'archive_partition'),
             ('attempt_log', 'attempt_partition'), ('counts', 'throughput')) as n (old, new)
where r.name = n.old;
delete from qctl.routine r where r.name in ('message', 'workers');
