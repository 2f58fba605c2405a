-- Who asks, who installed qctl, and what the asker may do, as qctl.grant_role() grants it.
select current_user as role_name, pg_get_userbyid(n.nspowner) as owner,
       pg_has_role(n.nspowner, 'usage') as owns,
       has_schema_privilege(n.oid, 'usage') and coalesce(f.reads, false) as reads,
       has_schema_privilege(n.oid, 'usage') and coalesce(f.operates, false) as operates,
       has_schema_privilege(n.oid, 'usage') and coalesce(f.works, false) as works
from pg_namespace n
left join lateral (
  select bool_and(has_function_privilege(p.oid, 'execute')) filter (where p.proname = 'findings') as reads,
         bool_and(has_function_privilege(p.oid, 'execute')) filter (where p.proname = 'replay') as operates,
         bool_and(has_function_privilege(p.oid, 'execute')) filter (where p.proname = 'claim') as works
  from pg_proc p where p.pronamespace = n.oid
) f on true
where n.nspname = 'qctl';
