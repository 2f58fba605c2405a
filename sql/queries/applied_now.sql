-- What the current transaction applied.
select 'migration' as kind, name, version from qctl.migration where applied_at = now()
union all
select 'routine', name, 0 from qctl.routine where applied_at = now()
order by kind, version, name;
