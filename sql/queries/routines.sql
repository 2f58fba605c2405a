-- Routine files as last applied.
select name, checksum, qctl_version from qctl.routine order by name;
