-- Whether schema qctl has its own data: a schema-only dump leaves it without.
select exists (select from qctl.migration);
