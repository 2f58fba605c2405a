-- Routine files as last applied.
select name, checksum from qctl.routine order by name;
