-- Keeps a header's value, which has been handed over in a temporary table.
select * from qctl.set_header_secret(:'name', (select s.value from pg_temp.qctl_secret s));
