-- A new signing secret. One that is given has been handed over in a temporary table.
select * from qctl.rotate_secret(:'queue', (select s.value from pg_temp.qctl_secret s), :'overlap');
