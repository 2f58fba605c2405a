-- May this database deliver, and what time is it there?
select qctl.is_armed() as armed, clock_timestamp() as at;
