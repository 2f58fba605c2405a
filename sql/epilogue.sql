-- Runs last in every install and upgrade that applied something, inside their transaction.
insert into qctl.audit (verb, detail)
select 'upgrade', jsonb_build_object('applied', jsonb_agg(name order by name))
from (select name from qctl.migration where applied_at = now() union all select name from qctl.routine where applied_at = now()) as a
having count(*) > 0;
