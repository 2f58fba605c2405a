-- Who may do what in schema qctl.

create or replace function qctl._close_routines() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_routine record;
begin
  for v_routine in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'USAGE')
      and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
  loop
    execute format('revoke all on routine %s from public', v_routine.name);
  end loop;
end
$$;
comment on function qctl._close_routines() is 'Nothing in schema qctl is executable by PUBLIC, for owners of attached tables may look into it.';
