-- Migrations that were applied.
select version, qctl_version from qctl.migration order by version;
